//! One connection to an FTP server (RFC 959, 2389, 2428, 3659): a line at a time, and a second connection for bytes.

use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use super::line::{Guard, Line};
use crate::tree::remote::{Trouble, TroubleKind};

const CONNECT: Duration = Duration::from_secs(15);
/// How long a server may take to answer, or to take or give the next bytes.
pub(super) const ANSWER: Duration = Duration::from_secs(60);
/// Bytes of one line of an answer, and lines of one answer.
const LINE_MAX: u64 = 64 * 1024;
const LINES_MAX: usize = 1_000;
/// Bytes of the listing of one folder: about a million files.
const LISTING_MAX: u64 = 256 * 1024 * 1024;

/// Where a server is and who comes.
#[derive(Clone)]
pub(super) struct Address {
    pub host: String,
    pub port: u16,
    pub user: String,
    pub password: String,
    /// `None` where all goes as it is.
    pub guard: Option<Guard>,
}

/// What a server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    pub code: u16,
    pub text: String,
}

/// A connection that is signed in.
pub(super) struct Session {
    control: BufReader<Line>,
    guard: Option<Guard>,
    /// Whether it lists in the form for machines.
    pub lists_for_machines: bool,
    passive: bool,
}

/// Waits, but not for ever.
pub(super) async fn within<T>(
    limit: Duration,
    work: impl Future<Output = std::io::Result<T>>,
) -> Result<T, Trouble> {
    match tokio::time::timeout(limit, work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(Trouble::passing(error.to_string())),
        Err(_) => Err(Trouble::passing(format!(
            "no answer within {} s",
            limit.as_secs()
        ))),
    }
}

/// A certificate that is not trusted stays so; and a root is not taken for missing because of it.
fn no_trust(trouble: Trouble) -> Trouble {
    if trouble.message.contains("certificate") {
        Trouble::new(
            TroubleKind::Credentials,
            format!(
                "its certificate is not trusted; `authority` in its manifest may name who vouches for it: {}",
                trouble.message
            ),
        )
    } else {
        trouble
    }
}

impl Session {
    pub(super) async fn open(address: &Address) -> Result<Self, Trouble> {
        let at = (address.host.as_str(), address.port);
        let control = within(CONNECT, TcpStream::connect(at)).await?;
        // Small lines that wait for each other.
        let _ = control.set_nodelay(true);
        let mut session = Self {
            control: BufReader::new(Line::Plain(control)),
            guard: None,
            lists_for_machines: false,
            passive: false,
        };
        session.answer().await?.expect(&[220])?;
        if let Some(guard) = &address.guard {
            session = session.guarded(guard).await?;
        }
        let reply = session.ask("USER", &address.user).await?;
        if reply.code == 331 {
            session
                .ask("PASS", &address.password)
                .await?
                .expect(&[230, 202])?;
        } else {
            reply.expect(&[230])?;
        }
        let features = session.ask("FEAT", "").await?;
        let has = |name: &str| features.code == 211 && features.text.to_ascii_uppercase().contains(name);
        session.lists_for_machines = has("MLST");
        if has("UTF8") {
            session.ask("OPTS", "UTF8 ON").await?;
        }
        session.ask("TYPE", "I").await?.expect(&[200])?;
        Ok(session)
    }

    /// Goes on with TLS, for words and for bytes, before anything secret is said.
    async fn guarded(mut self, guard: &Guard) -> Result<Self, Trouble> {
        let reply = self.ask("AUTH", "TLS").await?;
        if reply.code != 234 {
            let message = format!("the server offers no TLS (it said {} {})", reply.code, reply.text);
            return Err(Trouble::new(TroubleKind::Credentials, message));
        }
        if !self.control.buffer().is_empty() {
            // What is said before TLS begins may come from anybody.
            return Err(Trouble::passing("more was said than was asked before TLS began"));
        }
        let Line::Plain(control) = self.control.into_inner() else {
            return Err(Trouble::passing("TLS has begun twice"));
        };
        let control = within(CONNECT, guard.around(control)).await.map_err(no_trust)?;
        let mut session = Self {
            control: BufReader::new(control),
            guard: Some(guard.clone()),
            lists_for_machines: false,
            passive: false,
        };
        session.ask("PBSZ", "0").await?.expect(&[200])?;
        session.ask("PROT", "P").await?.expect(&[200])?;
        Ok(session)
    }

    /// Sends a command and reads what is said to it.
    pub(super) async fn ask(&mut self, command: &str, argument: &str) -> Result<Reply, Trouble> {
        self.tell(command, argument).await?;
        self.answer().await
    }

    async fn tell(&mut self, command: &str, argument: &str) -> Result<(), Trouble> {
        // The end of a line would be the end of the command, and what follows another one.
        if argument.contains(['\r', '\n', '\0']) {
            let message = "FTP cannot name what has a line break in its name";
            return Err(Trouble::new(TroubleKind::Name, message));
        }
        let line = match argument {
            "" => format!("{command}\r\n"),
            argument => format!("{command} {argument}\r\n"),
        };
        let control = self.control.get_mut();
        within(ANSWER, control.write_all(line.as_bytes())).await?;
        within(ANSWER, control.flush()).await
    }

    /// Reads one answer, which may have many lines.
    pub(super) async fn answer(&mut self) -> Result<Reply, Trouble> {
        let mut text = String::new();
        let mut ends = None;
        for _ in 0..LINES_MAX {
            let line = self.line().await?;
            let code = line.get(..3).and_then(|code| code.parse::<u16>().ok());
            let more = line.as_bytes().get(3) == Some(&b'-');
            let rest = line.get(4..).unwrap_or_default();
            match (ends, code) {
                (None, Some(code)) if more => ends = Some(code),
                (None, Some(code)) => {
                    return Ok(Reply {
                        code,
                        text: rest.to_owned(),
                    });
                }
                (Some(expected), Some(code)) if code == expected && !more => {
                    text.push_str(rest);
                    return Ok(Reply { code, text });
                }
                (None, None) => return Err(Trouble::passing("what the server says is no FTP")),
                (Some(_), _) => {}
            }
            text.push_str(&line);
            text.push('\n');
        }
        Err(Trouble::passing("an answer of the server does not end"))
    }

    async fn line(&mut self) -> Result<String, Trouble> {
        let mut line = Vec::new();
        let mut limited = (&mut self.control).take(LINE_MAX);
        within(ANSWER, limited.read_until(b'\n', &mut line)).await?;
        if line.last() != Some(&b'\n') {
            return Err(Trouble::passing("the server has ended the connection"));
        }
        let text = String::from_utf8_lossy(&line);
        Ok(text.trim_end_matches(['\r', '\n']).to_owned())
    }

    /// Begins to move bytes by a command: the connection that they go over.
    pub(super) async fn data(&mut self, command: &str, argument: &str, offset: u64) -> Result<Line, Trouble> {
        let port = self.data_port().await?;
        // To the address that the commands go to, whatever the server thinks its own is.
        let peer = self.control.get_ref().peer();
        let peer = peer.map_err(|error| Trouble::passing(error.to_string()))?;
        let data = within(CONNECT, TcpStream::connect((peer.ip(), port))).await?;
        if offset > 0 {
            self.ask("REST", &offset.to_string()).await?.expect(&[350])?;
        }
        self.ask(command, argument).await?.expect(&[125, 150])?;
        match &self.guard {
            None => Ok(Line::Plain(data)),
            Some(guard) => within(CONNECT, guard.around(data)).await,
        }
    }

    async fn data_port(&mut self) -> Result<u16, Trouble> {
        let unclear = || Trouble::passing("the server names no port for the bytes");
        if !self.passive {
            let reply = self.ask("EPSV", "").await?;
            if reply.code == 229 {
                let port = reply
                    .text
                    .split("|||")
                    .nth(1)
                    .and_then(|rest| rest.split('|').next());
                return port.and_then(|port| port.parse().ok()).ok_or_else(unclear);
            }
            self.passive = true;
        }
        let reply = self.ask("PASV", "").await?;
        let numbers = reply.expect(&[227])?;
        let inner = numbers
            .text
            .split('(')
            .nth(1)
            .and_then(|rest| rest.split(')').next());
        let mut numbers = inner
            .ok_or_else(unclear)?
            .split(',')
            .skip(4)
            .map(str::parse::<u16>);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(high)), Some(Ok(low))) if high < 256 && low < 256 => Ok(high * 256 + low),
            _ => Err(unclear()),
        }
    }

    /// The listing of a folder, as the server writes it.
    pub(super) async fn listing(&mut self, folder: &str) -> Result<String, Trouble> {
        // Into the folder first: some servers take what a name begins with for an option, and `*` for a pattern.
        self.ask("CWD", folder).await?.expect(&[250])?;
        let (command, argument) = if self.lists_for_machines {
            ("MLSD", "")
        } else {
            ("LIST", "-a")
        };
        let mut data = match self.data(command, argument, 0).await {
            // "No files found", as some servers say it.
            Err(trouble) if trouble.is(TroubleKind::Gone) => return Ok(String::new()),
            other => other?,
        };
        let mut bytes = Vec::new();
        let read = (&mut data).take(LISTING_MAX).read_to_end(&mut bytes).await;
        read.map_err(|error| Trouble::passing(error.to_string()))?;
        drop(data);
        self.answer().await?.expect(&[226, 250])?;
        String::from_utf8(bytes).map_err(|_| {
            let message = "the folder has names that are no UTF-8";
            Trouble::new(TroubleKind::Name, message)
        })
    }
}

impl Reply {
    /// The answer, if it is one of those that are good.
    pub(super) fn expect(self, good: &[u16]) -> Result<Self, Trouble> {
        if good.contains(&self.code) {
            Ok(self)
        } else {
            Err(self.trouble())
        }
    }

    /// What an answer that is not good means. Servers use 550 for nearly everything and say in words what it is.
    pub(super) fn trouble(&self) -> Trouble {
        let said = self.text.to_ascii_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| said.contains(word));
        let kind = match self.code {
            530 | 532 | 332 => TroubleKind::Credentials,
            452 | 552 => TroubleKind::NoRoom,
            450 | 550 | 553
                if says(&[
                    "permission",
                    "denied",
                    "not permitted",
                    "privilege",
                    "not allowed",
                ]) =>
            {
                TroubleKind::Denied
            }
            450 | 550 | 553 | 521 if says(&["exist"]) && !says(&["not exist", "n't exist", "no such"]) => {
                TroubleKind::Exists
            }
            450 | 550 => TroubleKind::Gone,
            553 | 501 => TroubleKind::Name,
            500 | 502 | 504 => TroubleKind::Place,
            _ => TroubleKind::Passing,
        };
        Trouble::new(kind, format!("the server said {} {}", self.code, self.text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_servers_say_is_understood() {
        let kind = |code, text: &str| {
            let text = text.to_owned();
            Reply { code, text }.trouble().kind
        };
        assert_eq!(kind(530, "Login incorrect."), TroubleKind::Credentials);
        assert_eq!(kind(550, "Permission denied."), TroubleKind::Denied);
        assert_eq!(kind(550, "Not enough privileges."), TroubleKind::Denied);
        assert_eq!(kind(550, "File exists."), TroubleKind::Exists);
        assert_eq!(kind(550, "No such file or directory."), TroubleKind::Gone);
        assert_eq!(kind(550, "Failed to open file."), TroubleKind::Gone);
        assert_eq!(kind(452, "Not enough space."), TroubleKind::NoRoom);
        assert_eq!(kind(421, "Too many connections."), TroubleKind::Passing);
    }
}
