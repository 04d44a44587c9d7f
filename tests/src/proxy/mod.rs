//! Something between the binary and an S3 server that counts what is sent, may be slow, and does what networks do: answers
//! get lost, bodies break off, bits turn over, requests come twice or late.
//!
//! ```text
//!  binary ──request──▶ rule: what befalls this one? ──▶ server
//!         ◀──answer─── (the same)                  ◀──
//! ```

mod asked;
mod http;
mod time;

use std::collections::BTreeMap;
use std::io::{self, BufReader, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

pub use asked::{Asked, Kind};
use http::{Harm, Head, Length, Passing};
use time::{http_date, seconds, unix_now};

/// How long a request that comes late comes after the first time.
const LATE: Duration = Duration::from_millis(1_500);

/// What befalls a request or its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// The server never hears of it, and this status and code is told.
    Refused(u16, &'static str),
    /// The server never hears of it, and this is the whole answer, as somebody on the way gives one.
    Told(&'static str),
    /// One bit of its body is another when it arrives.
    FlipSent,
    /// Half of its body arrives, and then the connection breaks.
    CutSent,
    /// Half of its body arrives, and the rest only after so long.
    StallSent(Duration),
    /// It arrives, and its answer does not.
    AnswerLost,
    /// One bit of the answer's body is another.
    FlipAnswer,
    /// Half of the answer comes, and then the connection breaks.
    CutAnswer,
    /// Half of the answer comes, and the rest only after so long.
    StallAnswer(Duration),
    /// The answer says that it is half as long as it is, and is.
    ShortAnswer,
    /// It arrives twice, one right after the other; the second answer is told.
    Twice,
    /// It arrives, is answered, and arrives once more when all that followed it is done.
    Late,
    /// It arrives, is answered, and arrives once more when the test says so ([`Proxy::deliver_kept`]).
    Kept,
    /// Others overtake it.
    Held(Duration),
}

/// One request and what came of it.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// The request.
    pub asked: Asked,
    /// The server's status; 0 if it never answered.
    pub status: u16,
    /// When its head had come.
    pub begun: Instant,
    /// When the server had answered.
    pub answered: Instant,
    /// Whether the whole answer was passed on.
    pub told: bool,
    /// What befell it.
    pub fault: Fault,
}

type Rule = Box<dyn Fn(&Asked) -> Fault + Send + Sync>;

struct Shared {
    server: String,
    bytes_per_second: Option<u64>,
    rule: Mutex<Arc<Rule>>,
    sent: AtomicU64,
    harmed: AtomicU64,
    log: Mutex<Vec<Exchange>>,
    /// Heads and bodies of requests that are to come once more.
    kept: Mutex<Vec<(Vec<u8>, Vec<u8>)>>,
    under_way: Mutex<BTreeMap<u64, (Asked, Instant)>>,
    serial: AtomicU64,
    /// Seconds by which the server's clock seems to be ahead.
    ahead: Mutex<Option<i64>>,
}

/// A port that passes everything on to a server. Its threads end with the test's process.
pub struct Proxy {
    /// `http://127.0.0.1:<port>`
    pub endpoint: String,
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Proxy({})", self.endpoint)
    }
}

impl Proxy {
    /// Before a server at `http://<host>:<port>`; each connection carries so many bytes a second at most.
    ///
    /// # Panics
    /// When no port is free.
    #[must_use]
    pub fn before(endpoint: &str, bytes_per_second: u64) -> Self {
        Self::start(endpoint, Some(bytes_per_second))
    }

    /// Before a server; a rule says what befalls each request.
    ///
    /// # Panics
    /// When no port is free.
    #[must_use]
    pub fn harming(endpoint: &str, rule: impl Fn(&Asked) -> Fault + Send + Sync + 'static) -> Self {
        let proxy = Self::start(endpoint, None);
        proxy.rule(rule);
        proxy
    }

    fn start(endpoint: &str, bytes_per_second: Option<u64>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("a bound port").port();
        let none: Rule = Box::new(|_| Fault::None);
        let shared = Arc::new(Shared {
            server: endpoint.trim_start_matches("http://").to_owned(),
            bytes_per_second,
            rule: Mutex::new(Arc::new(none)),
            sent: AtomicU64::new(0),
            harmed: AtomicU64::new(0),
            log: Mutex::new(Vec::new()),
            kept: Mutex::new(Vec::new()),
            under_way: Mutex::new(BTreeMap::new()),
            serial: AtomicU64::new(0),
            ahead: Mutex::new(None),
        });
        let all = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = Arc::clone(&all);
                std::thread::spawn(move || {
                    // Either end may go away at any time.
                    let _ = Line::new(&shared, &client).map(|line| line.serve());
                    let _ = client.shutdown(Shutdown::Both);
                });
            }
        });
        Self {
            endpoint: format!("http://127.0.0.1:{port}"),
            shared,
        }
    }

    /// From now on this rule says what befalls each request.
    pub fn rule(&self, rule: impl Fn(&Asked) -> Fault + Send + Sync + 'static) {
        let rule: Rule = Box::new(rule);
        *lock(&self.shared.rule) = Arc::new(rule);
    }

    /// From now on nothing befalls any request.
    pub fn heal(&self) {
        self.rule(|_| Fault::None);
    }

    /// The server's clock seems to be ahead by so many seconds: it tells that time, and refuses, as S3 does, what was signed
    /// more than a quarter of an hour before or after it. The server behind must not check signatures.
    pub fn clock(&self, ahead_s: i64) {
        *lock(&self.shared.ahead) = Some(ahead_s);
    }

    /// Bytes that were sent to the server so far in bodies, on all connections.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed)
    }

    /// All requests so far that have ended.
    #[must_use]
    pub fn log(&self) -> Vec<Exchange> {
        lock(&self.shared.log).clone()
    }

    /// Whether any request so far was harmed or refused, also one that has not ended yet.
    #[must_use]
    pub fn befell(&self) -> bool {
        self.shared.harmed.load(Ordering::Relaxed) > 0
    }

    /// Lets what was kept arrive once more, and waits for the answers; how many there were.
    ///
    /// # Panics
    /// When the server does not answer.
    #[must_use]
    pub fn deliver_kept(&self) -> usize {
        let kept = std::mem::take(&mut *lock(&self.shared.kept));
        for (head, body) in &kept {
            let mut upstream = Upstream::connect(&self.shared.server).expect("the server is there");
            upstream.writer.write_all(head).expect("the server takes it");
            upstream.writer.write_all(body).expect("the server takes it");
            Head::read(&mut upstream.reader).expect("the server answers");
        }
        kept.len()
    }

    /// What is asked for and not answered yet, and for how long, in words.
    #[must_use]
    pub fn under_way(&self) -> String {
        let under_way = lock(&self.shared.under_way);
        let told = under_way.values().map(|(asked, since)| {
            format!(
                "{:?} {} for {} ms",
                asked.kind,
                asked.path,
                since.elapsed().as_millis()
            )
        });
        told.collect::<Vec<_>>().join("; ")
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection to the server.
struct Upstream {
    reader: BufReader<TcpStream>,
    writer: TcpStream,
}

impl Upstream {
    fn connect(server: &str) -> io::Result<Self> {
        let writer = TcpStream::connect(server)?;
        writer.set_nodelay(true)?;
        let reader = BufReader::with_capacity(128 * 1024, writer.try_clone()?);
        Ok(Self { reader, writer })
    }
}

/// One connection of the binary's.
struct Line<'a> {
    shared: &'a Arc<Shared>,
    reader: BufReader<TcpStream>,
    writer: TcpStream,
    upstream: Option<Upstream>,
}

/// A request on its way.
struct Request {
    asked: Asked,
    method: String,
    head: Head,
    fault: Fault,
    begun: Instant,
    /// Its body, where that is sent more than once.
    kept: Vec<u8>,
}

impl<'a> Line<'a> {
    fn new(shared: &'a Arc<Shared>, client: &TcpStream) -> io::Result<Self> {
        client.set_nodelay(true)?;
        Ok(Self {
            shared,
            reader: BufReader::with_capacity(128 * 1024, client.try_clone()?),
            writer: client.try_clone()?,
            upstream: None,
        })
    }

    fn serve(mut self) -> io::Result<()> {
        while let Some(head) = Head::read(&mut self.reader)? {
            let length = match head.length_of_request() {
                Length::Bytes(bytes) => bytes,
                Length::Chunked | Length::ToTheEnd => {
                    return Err(io::Error::other("no such request is ours"));
                }
            };
            let asked = Asked::of(&head.first, length, head.get("x-amz-date"));
            let rule = Arc::clone(&lock(&self.shared.rule));
            let fault = self.skewed(&asked).unwrap_or_else(|| rule(&asked));
            if fault != Fault::None {
                self.shared.harmed.fetch_add(1, Ordering::Relaxed);
            }
            let method = head.first.split(' ').next().unwrap_or_default().to_owned();
            let request = Request {
                asked,
                method,
                head,
                fault,
                begun: Instant::now(),
                kept: Vec::new(),
            };
            self.exchange(request)?;
        }
        Ok(())
    }

    fn skewed(&self, asked: &Asked) -> Option<Fault> {
        let ahead = (*lock(&self.shared.ahead))?;
        let theirs = unix_now() + ahead;
        let off = seconds(asked.signed.as_deref()?)? - theirs;
        (off.abs() > 900).then_some(Fault::Refused(403, "RequestTimeTooSkewed"))
    }

    fn exchange(&mut self, mut request: Request) -> io::Result<()> {
        let mut exchange = Exchange {
            asked: request.asked.clone(),
            status: 0,
            begun: request.begun,
            answered: request.begun,
            told: false,
            fault: request.fault.clone(),
        };
        let serial = self.shared.serial.fetch_add(1, Ordering::Relaxed);
        let mine = (request.asked.clone(), request.begun);
        lock(&self.shared.under_way).insert(serial, mine);
        let result = self.carry(&mut request, &mut exchange);
        lock(&self.shared.under_way).remove(&serial);
        exchange.told = result.is_ok();
        lock(&self.shared.log).push(exchange);
        result
    }

    fn carry(&mut self, request: &mut Request, exchange: &mut Exchange) -> io::Result<()> {
        if let Fault::Refused(status, code) = request.fault {
            let body = format!("<Error><Code>{code}</Code><Message>the test wants it so</Message></Error>");
            return self.answer(request, status, &body);
        }
        if let Fault::Told(body) = request.fault {
            return self.answer(request, 200, body);
        }
        if let Fault::Held(pause) = request.fault {
            std::thread::sleep(pause);
        }
        let answer = self.ask(request, exchange)?;
        if request.fault == Fault::AnswerLost {
            let _ = self.drain(request, &answer);
            return Err(io::Error::other("the answer is lost"));
        }
        let answer = if request.fault == Fault::Twice {
            self.drain(request, &answer)?;
            self.again(request)?
        } else {
            answer
        };
        self.tell(request, answer)?;
        if request.fault == Fault::Kept {
            let kept = (request.head.bytes(), request.kept.clone());
            lock(&self.shared.kept).push(kept);
        }
        if request.fault == Fault::Late {
            self.later(request);
        }
        Ok(())
    }

    /// What the server never hears of is read all the same: the answer comes when all was sent, as most servers do it.
    fn answer(&mut self, request: &Request, status: u16, body: &str) -> io::Result<()> {
        let mut passing = Passing::new(Harm::default(), &|_| {});
        passing.pass(
            &mut self.reader,
            &mut io::sink(),
            Length::Bytes(request.asked.length),
        )?;
        let body = if request.method == "HEAD" { "" } else { body };
        let mut head = Head::answer(status, body.len());
        self.date(&mut head);
        self.writer.write_all(&head.bytes())?;
        self.writer.write_all(body.as_bytes())?;
        self.writer.flush()
    }

    fn date(&self, head: &mut Head) {
        if let Some(ahead) = *lock(&self.shared.ahead) {
            head.set("Date", &http_date(unix_now() + ahead));
        }
    }

    /// Sends the request and reads the head of the answer.
    fn ask(&mut self, request: &mut Request, exchange: &mut Exchange) -> io::Result<Head> {
        let half = request.asked.length / 2;
        let mut harm = Harm {
            slow: self.shared.bytes_per_second,
            ..Harm::default()
        };
        match request.fault {
            Fault::FlipSent => harm.flip = Some(half),
            Fault::CutSent => harm.cut = Some(half),
            Fault::StallSent(pause) => harm.stall = Some((half, pause)),
            _ => {}
        }
        if self.upstream.is_none() {
            self.upstream = Some(Upstream::connect(&self.shared.server)?);
        }
        let Some(upstream) = &mut self.upstream else {
            unreachable!("it was connected right here")
        };
        let sent = |bytes| {
            self.shared.sent.fetch_add(bytes, Ordering::Relaxed);
        };
        let mut passing = Passing::new(harm, &sent);
        let length = Length::Bytes(request.asked.length);
        let done = upstream.writer.write_all(&request.head.bytes()).and_then(|()| {
            if matches!(request.fault, Fault::Twice | Fault::Late | Fault::Kept) {
                passing.pass(&mut self.reader, &mut request.kept, length)?;
                return upstream.writer.write_all(&request.kept);
            }
            passing.pass(&mut self.reader, &mut upstream.writer, length)
        });
        let answer = done.and_then(|()| Head::read(&mut upstream.reader));
        exchange.answered = Instant::now();
        match answer {
            Ok(Some(answer)) => {
                exchange.status = answer.status();
                Ok(answer)
            }
            broken => {
                if let Some(upstream) = self.upstream.take() {
                    let _ = upstream.writer.shutdown(Shutdown::Both);
                }
                Err(broken
                    .err()
                    .unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into()))
            }
        }
    }

    fn drain(&mut self, request: &Request, answer: &Head) -> io::Result<()> {
        let Some(upstream) = &mut self.upstream else {
            return Ok(());
        };
        let mut passing = Passing::new(Harm::default(), &|_| {});
        passing.pass(
            &mut upstream.reader,
            &mut io::sink(),
            answer.length_of_answer(&request.method),
        )
    }

    fn again(&mut self, request: &Request) -> io::Result<Head> {
        let mut upstream = Upstream::connect(&self.shared.server)?;
        upstream.writer.write_all(&request.head.bytes())?;
        upstream.writer.write_all(&request.kept)?;
        let answer = Head::read(&mut upstream.reader)?;
        self.upstream = Some(upstream);
        answer.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    fn later(&self, request: &Request) {
        let (server, head, body) = (
            self.shared.server.clone(),
            request.head.bytes(),
            request.kept.clone(),
        );
        std::thread::spawn(move || {
            std::thread::sleep(LATE);
            // Nobody waits for what comes of it.
            let _ = Upstream::connect(&server).and_then(|mut upstream| {
                upstream.writer.write_all(&head)?;
                upstream.writer.write_all(&body)?;
                Head::read(&mut upstream.reader)
            });
        });
    }

    fn tell(&mut self, request: &Request, mut answer: Head) -> io::Result<()> {
        let length = answer.length_of_answer(&request.method);
        let half = match length {
            Length::Bytes(bytes) => bytes / 2,
            Length::Chunked | Length::ToTheEnd => 0,
        };
        let mut harm = Harm::default();
        let mut told = length;
        match request.fault {
            Fault::FlipAnswer => harm.flip = Some(half),
            Fault::CutAnswer => harm.cut = Some(half),
            Fault::StallAnswer(pause) => harm.stall = Some((half, pause)),
            Fault::ShortAnswer => {
                answer.set("Content-Length", &half.to_string());
                told = Length::Bytes(half);
            }
            _ => {}
        }
        self.date(&mut answer);
        self.writer.write_all(&answer.bytes())?;
        let Some(upstream) = &mut self.upstream else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        Passing::new(harm, &|_| {}).pass(&mut upstream.reader, &mut self.writer, told)?;
        if told != length || length == Length::ToTheEnd {
            // What is left of it must not be taken for the next answer.
            self.upstream = None;
        }
        if length == Length::ToTheEnd {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }
}
