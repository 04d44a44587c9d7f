//! The table of cases: who suffers, what befalls which requests, and how the apply must end.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use domicile_tests::{Asked, Fault, Kind, Outcome};

/// Which end of the copy lies behind the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The copy is written there.
    Target,
    /// The origin lies there.
    Source,
}

/// How the apply under the fault must end.
#[derive(Debug, Clone, Copy)]
pub enum Ends {
    /// With everything done.
    Whole,
    /// With exit code 5 and these words.
    Failed(&'static [&'static str]),
}

impl Ends {
    #[track_caller]
    pub fn assert(self, outcome: &Outcome) {
        let says = |word: &&str| outcome.stdout.contains(word) || outcome.stderr.contains(word);
        let right = match self {
            Self::Whole => outcome.code == 0,
            Self::Failed(words) => outcome.code == 5 && words.iter().all(says),
        };
        assert!(right, "it must end {self:?}: {}", outcome.all());
    }
}

/// What a network answers to whoever has not signed in to it.
const PAGE: &str = "<html><body>Welcome! Please sign in.</body></html>";
/// A listing that says that it has nine objects.
const LESS: &str =
    "<ListBucketResult><KeyCount>9</KeyCount><IsTruncated>false</IsTruncated></ListBucketResult>";

type Rule = Box<dyn Fn(&Asked) -> Fault + Send + Sync>;

/// One line of the table.
pub struct Case {
    pub name: &'static str,
    pub side: Side,
    pub rule: Box<dyn Fn() -> Rule + Send + Sync>,
    pub ends: Ends,
    /// Further lines of the policy.
    pub more: &'static [&'static str],
}

/// How many of the requests of a kind the fault befalls.
#[derive(Debug, Clone, Copy)]
enum Share {
    First(u64),
    EveryOther,
    All,
}

fn rule(kinds: &'static [Kind], share: Share, fault: &Fault) -> Rule {
    let (fault, seen) = (fault.clone(), AtomicU64::new(0));
    Box::new(move |asked| {
        let ours = asked.is_about("/d/") || matches!(asked.kind, Kind::List);
        if !ours || !kinds.contains(&asked.kind) {
            return Fault::None;
        }
        let number = seen.fetch_add(1, Ordering::Relaxed);
        let befalls = match share {
            Share::First(count) => number < count,
            Share::EveryOther => number % 2 == 0,
            Share::All => true,
        };
        if befalls { fault.clone() } else { Fault::None }
    })
}

type Line = (
    &'static str,
    &'static [Kind],
    Share,
    Fault,
    Ends,
    &'static [&'static str],
);

fn case(side: Side, (name, kinds, share, fault, ends, more): Line) -> Case {
    Case {
        name,
        side,
        rule: Box::new(move || rule(kinds, share, &fault)),
        ends,
        more,
    }
}

const FULL: &[&str] = &["verify: Full"];
const ALL: &[Kind] = &[
    Kind::Put,
    Kind::PutPart,
    Kind::Begin,
    Kind::Complete,
    Kind::Abort,
    Kind::Get,
    Kind::Head,
    Kind::Delete,
    Kind::List,
];
/// Longer than the binary waits for a store that says nothing, as the tests set it.
const LONG: Duration = Duration::from_secs(8);
const SHORT: Duration = Duration::from_millis(1_500);

#[rustfmt::skip]
fn at_target() -> Vec<Line> {
    use Ends::{Failed, Whole};
    use Fault::*;
    use Share::{All, EveryOther, First};
    vec![
        ("to: a storm of 503", ALL, EveryOther, Refused(503, "SlowDown"), Whole, &[]),
        ("to: a storm of 429", ALL, EveryOther, Refused(429, "TooManyRequests"), Whole, &[]),
        ("to: 503 for good", &[Kind::Put, Kind::PutPart], All, Refused(503, "SlowDown"), Failed(&["alpha", "SlowDown"]), &[]),
        ("to: no room", &[Kind::Put, Kind::PutPart], All, Refused(507, "InsufficientStorage"), Failed(&["alpha", "there is no room"]), &[]),
        ("to: a put is flipped", &[Kind::Put], First(3), FlipSent, Whole, &[]),
        ("to: a part is flipped", &[Kind::PutPart], First(2), FlipSent, Whole, &[]),
        ("to: puts are flipped for good", &[Kind::Put, Kind::PutPart], All, FlipSent, Failed(&["alpha", "small/3", "large"]), &[]),
        ("to: a put breaks off", &[Kind::Put], First(3), CutSent, Whole, &[]),
        ("to: a part breaks off", &[Kind::PutPart], First(2), CutSent, Whole, &[]),
        ("to: a put stalls", &[Kind::Put], First(2), StallSent(LONG), Whole, &[]),
        ("to: a part stalls", &[Kind::PutPart], First(2), StallSent(LONG), Whole, &[]),
        ("to: a part pauses", &[Kind::PutPart], First(2), StallSent(SHORT), Whole, &[]),
        ("to: the answer to a put is lost", &[Kind::Put], First(3), AnswerLost, Whole, &[]),
        ("to: the answer to a part is lost", &[Kind::PutPart], First(2), AnswerLost, Whole, &[]),
        ("to: the answer to a beginning is lost", &[Kind::Begin], First(1), AnswerLost, Whole, &[]),
        ("to: the answer to a completion is lost", &[Kind::Complete], First(1), AnswerLost, Whole, &[]),
        ("to: all answers to completions are lost", &[Kind::Complete], All, AnswerLost, Whole, &[]),
        ("to: all answers to puts are lost", &[Kind::Put], All, AnswerLost, Whole, &[]),
        ("to: the answer to a completion breaks off", &[Kind::Complete], First(1), CutAnswer, Whole, &[]),
        ("to: the answer to a completion is short", &[Kind::Complete], First(1), ShortAnswer, Whole, &[]),
        ("to: puts come twice", &[Kind::Put], All, Twice, Whole, &[]),
        ("to: parts come twice", &[Kind::PutPart], All, Twice, Whole, &[]),
        ("to: a beginning comes twice", &[Kind::Begin], All, Twice, Whole, &[]),
        ("to: a completion comes twice", &[Kind::Complete], All, Twice, Whole, &[]),
        ("to: puts come again later", &[Kind::Put], All, Late, Whole, &[]),
        ("to: parts come again later", &[Kind::PutPart], All, Late, Whole, &[]),
        ("to: a completion comes again later", &[Kind::Complete], All, Late, Whole, &[]),
        ("to: the first part is overtaken", &[Kind::PutPart], First(1), Held(SHORT), Whole, &[]),
        ("to: the first puts are overtaken", &[Kind::Put], First(2), Held(SHORT), Whole, &[]),
        ("to: what is read back is flipped", &[Kind::Get], First(2), FlipAnswer, Whole, FULL),
        ("to: what is read back is always flipped", &[Kind::Get], All, FlipAnswer, Failed(&["alpha", "other bytes"]), FULL),
        ("to: what is read back breaks off", &[Kind::Get], First(3), CutAnswer, Whole, FULL),
        ("to: what is read back is short", &[Kind::Get], First(3), ShortAnswer, Whole, FULL),
        ("to: what is read back stalls", &[Kind::Get], First(2), StallAnswer(LONG), Whole, FULL),
        ("to: no look at the target is answered", &[Kind::Head], All, AnswerLost, Failed(&["alpha", "look at it"]), &[]),
    ]
}

#[rustfmt::skip]
fn at_source() -> Vec<Line> {
    use Ends::{Failed, Whole};
    use Fault::*;
    use Share::{All, EveryOther, First};
    vec![
        ("from: a storm of 503", ALL, EveryOther, Refused(503, "SlowDown"), Whole, &[]),
        ("from: a storm of 429", ALL, EveryOther, Refused(429, "TooManyRequests"), Whole, &[]),
        ("from: 503 for good", &[Kind::Get], All, Refused(503, "SlowDown"), Failed(&["alpha", "SlowDown"]), &[]),
        ("from: what is read is flipped", &[Kind::Get], First(3), FlipAnswer, Whole, &[]),
        ("from: what is read is always flipped", &[Kind::Get], All, FlipAnswer, Failed(&["alpha", "not what the store says"]), &[]),
        ("from: what is read breaks off", &[Kind::Get], First(3), CutAnswer, Whole, &[]),
        ("from: what is read always breaks off", &[Kind::Get], All, CutAnswer, Failed(&["alpha"]), &[]),
        ("from: what is read stalls", &[Kind::Get], First(2), StallAnswer(LONG), Whole, &[]),
        ("from: what is read pauses", &[Kind::Get], First(2), StallAnswer(SHORT), Whole, &[]),
        ("from: what is read is short", &[Kind::Get], First(3), ShortAnswer, Whole, &[]),
        ("from: what is read is always short", &[Kind::Get], All, ShortAnswer, Failed(&["alpha", "network"]), &[]),
        ("from: answers to reads are lost", &[Kind::Get], First(3), AnswerLost, Whole, &[]),
        ("from: reads are overtaken", &[Kind::Get], First(2), Held(SHORT), Whole, &[]),
        ("from: listings are short", &[Kind::List], First(2), ShortAnswer, Whole, &[]),
        ("from: a page comes in the place of listings", &[Kind::List], First(2), Told(PAGE), Whole, &[]),
        ("from: listings tell less than they say", &[Kind::List], First(2), Told(LESS), Whole, &[]),
        ("from: listings break off", &[Kind::List], First(2), CutAnswer, Whole, &[]),
    ]
}

/// Every case.
pub fn all() -> Vec<Case> {
    let to = at_target().into_iter().map(|line| case(Side::Target, line));
    let from = at_source().into_iter().map(|line| case(Side::Source, line));
    to.chain(from).collect()
}
