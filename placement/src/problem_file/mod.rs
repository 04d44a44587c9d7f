//! Problems as files, so that what was planned once can be solved again: on another day, by another method, by somebody
//! else.
//!
//! A problem file is JSON Lines. The first line is the head: what the file is and how many rows of each kind follow. Then
//! come the rows, one a line, always in this order, so that a row refers by index only to what a reader knows of already:
//!
//! ```text
//! {"apiVersion":"domicile.dev/placement/v1","kind":"Problem","currency":"EUR","rows":{"backends":2, …}}
//! {"name":"b0", …}                                          backends, sorted by name
//! {"name":"p0","enforced":true, …}                          policies, sorted by name
//! {"rule":"soil","kind":"Confinement","bars":"Every", …}    reasons
//! {"policy":0,"name":"copies","copies":2,"accepts":[0,1], …} requirements; `accepts` lists backends
//! {"from":0,"to":1,"forbidden":false, …}                    links
//! {"priority":3,"policies":[0],"requirements":[0], …}       profiles: what the policies say of a dataset, stated once
//! ["d0",1234,1,0,true,[[1,"Verified",true,0,0]],null]       datasets, sorted by name
//! ```
//!
//! A dataset is an array, for there may be a million of them: name, bytes, objects, profile, whether the origin must stay,
//! the copies (backend, state, whether it is the origin, missing bytes, missing objects) and the billable bytes for each
//! minimum object size, `null` where the only one is 0.
//!
//! Nothing here reads or writes a file: [`lines`] gives the lines, and [`Reader`] takes them.

mod anonymous;
mod read;
mod rows;
mod write;

pub use anonymous::anonymous;
pub use read::Reader;
pub use write::lines;

/// The version of problem files that this crate writes and reads.
pub const API_VERSION: &str = "domicile.dev/placement/v1";
/// The kind that the head names.
pub const KIND: &str = "Problem";

/// Why lines are no problem file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProblemFileError {
    /// The first line names another format.
    #[error(
        "line 1 says apiVersion `{api_version}` and kind `{kind}`; what can be read is `{API_VERSION}`, kind `{KIND}`"
    )]
    Version {
        /// The version that it names, empty if none.
        api_version: String,
        /// The kind that it names, empty if none.
        kind: String,
    },
    /// A line has not the shape of the row that must stand there.
    #[error("line {line} is no {row}: {message}")]
    Form {
        /// Its number, from 1.
        line: u64,
        /// What must stand there.
        row: &'static str,
        /// What the JSON parser said.
        message: String,
    },
    /// A row says what cannot be.
    #[error("line {line}, a {row}: {fault}")]
    Row {
        /// Its number, from 1.
        line: u64,
        /// What stands there.
        row: &'static str,
        /// What is wrong with it.
        fault: Fault,
    },
    /// The lines end too early.
    #[error("the file ends after line {line}, and a {row} should follow: it may be cut off")]
    Cut {
        /// The last line's number.
        line: u64,
        /// What should follow.
        row: &'static str,
    },
    /// Something follows where the head says that the file ends.
    #[error("line {line}: the head counts fewer rows, nothing may follow here")]
    Extra {
        /// Its number, from 1.
        line: u64,
    },
    /// A row could not be put as JSON.
    #[error("a row could not be written as JSON: {0}")]
    Unwritable(String),
}

/// What is wrong with a row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A text is no name.
    #[error(transparent)]
    Name(#[from] domicile_estate::NameError),
    /// A word that is not one of those known.
    #[error("`{field}` says `{word}`, which is not known")]
    Word {
        /// The field.
        field: &'static str,
        /// What it says.
        word: String,
    },
    /// An index or number that is too large.
    #[error("`{field}` has {found}, and must be below {limit}")]
    Range {
        /// The field.
        field: &'static str,
        /// What it has.
        found: usize,
        /// The number of rows that it may refer to.
        limit: usize,
    },
    /// A list that must be in order is not, or has something twice.
    #[error("`{0}` is not in ascending order, or has something twice")]
    Unsorted(&'static str),
    /// A list must have one entry for each backend.
    #[error("`{field}` has {found} entries for {wanted} backends")]
    Length {
        /// The field.
        field: &'static str,
        /// Its entries.
        found: usize,
        /// The backends.
        wanted: usize,
    },
    /// An amount below zero, or none at all.
    #[error("`{field}` is {found}, and must be a number that is not below zero")]
    Amount {
        /// The field.
        field: &'static str,
        /// What it is.
        found: String,
    },
    /// Billable bytes below the bytes.
    #[error("`billable` is below the bytes of the dataset")]
    Billable,
    /// Months over which nothing can be spread.
    #[error("`horizonMonths` must be at least 1")]
    Horizon,
}
