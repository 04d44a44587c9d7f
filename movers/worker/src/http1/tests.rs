//! Against a server that says what a test tells it to.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;

use super::*;

/// A server that serves one connection after the other: for each a list of answers, one per request. A request is read up
/// to the end of its head and `body` bytes more.
struct Server {
    address: String,
    thread: JoinHandle<Vec<String>>,
}

fn serve(connections: &'static [&'static [&'static str]], body: usize) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/path", listener.local_addr().unwrap());
    let thread = std::thread::spawn(move || {
        let mut requests = Vec::new();
        for answers in connections {
            let (mut stream, _) = listener.accept().unwrap();
            for answer in *answers {
                requests.push(read_request(&mut stream, body));
                stream.write_all(answer.replace('\n', "\r\n").as_bytes()).unwrap();
            }
        }
        requests
    });
    Server { address, thread }
}

fn read_request(stream: &mut TcpStream, body: usize) -> String {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(b"\r\n\r\n") {
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "a request");
        text.push(byte[0]);
    }
    let mut rest = vec![0; body];
    stream.read_exact(&mut rest).unwrap();
    text.extend(rest);
    String::from_utf8(text).unwrap()
}

async fn ask(
    http: &Http,
    server: &Server,
    method: Method,
    body: impl Into<Bytes>,
) -> Result<(u16, Bytes), Broken> {
    let uri: Uri = server.address.parse().unwrap();
    let payload = Payload::of(&[body.into()]);
    let answer = http.send(&method, &uri, HeaderMap::new(), payload).await?;
    let status = answer.status().as_u16();
    Ok((status, http.all_bytes(answer.into_body()).await?))
}

#[tokio::test]
async fn one_connection_serves_answers_of_every_shape() {
    let server = serve(
        &[&[
            "HTTP/1.1 200 OK\nContent-Length: 5\n\nhello",
            "HTTP/1.1 200 OK\nContent-Length: 5\n\n",
            "HTTP/1.1 100 Continue\n\nHTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n3\nabc\n2;x=y\nde\n0\nA: b\n\n",
            "HTTP/1.1 404 Not Found\nContent-Length: 2\n\nno",
            "HTTP/1.1 204 No Content\n\n",
            "HTTP/1.1 200 OK\nConnection: close\n\nto the end",
        ]],
        0,
    );
    let http = Http::new(false).unwrap();
    let get = |method| ask(&http, &server, method, "");
    assert_eq!(
        get(Method::GET).await.unwrap(),
        (200, Bytes::from_static(b"hello"))
    );
    assert_eq!(get(Method::HEAD).await.unwrap(), (200, Bytes::new()));
    assert_eq!(
        get(Method::GET).await.unwrap(),
        (200, Bytes::from_static(b"abcde"))
    );
    assert_eq!(get(Method::GET).await.unwrap(), (404, Bytes::from_static(b"no")));
    assert_eq!(get(Method::DELETE).await.unwrap(), (204, Bytes::new()));
    assert_eq!(
        get(Method::GET).await.unwrap(),
        (200, Bytes::from_static(b"to the end"))
    );
    assert_eq!(server.thread.join().unwrap().len(), 6);
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_costs_no_request() {
    const OK: &str = "HTTP/1.1 200 OK\nContent-Length: 0\n\n";
    let server = serve(&[&[OK], &[OK]], 4);
    let http = Http::new(false).unwrap();
    for _ in 0..2 {
        assert_eq!(ask(&http, &server, Method::PUT, "body").await.unwrap().0, 200);
    }
    let requests = server.thread.join().unwrap();
    assert!(
        requests.iter().all(|request| request.ends_with("\r\n\r\nbody")),
        "{requests:?}"
    );
}

#[tokio::test]
async fn what_comes_short_is_told() {
    let server = serve(
        &[
            &["HTTP/1.1 200 OK\nContent-Length: 9\n\nhello"],
            &["HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n5\nhel"],
            &["HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n5\nhello\n"],
            &["HTTP/1.1 200 OK\nContent-Le"],
            &["HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\nxyz\nhello\n"],
        ],
        0,
    );
    let http = Http::new(false).unwrap();
    for _ in 0..5 {
        assert!(ask(&http, &server, Method::GET, "").await.is_err());
    }
    server.thread.join().unwrap();
}

#[tokio::test]
async fn what_came_before_a_break_is_given_on() {
    let server = serve(&[&["HTTP/1.1 200 OK\nContent-Length: 9\n\nhello"]], 0);
    let http = Http::new(false).unwrap();
    let uri: Uri = server.address.parse().unwrap();
    let answer = http
        .send(&Method::GET, &uri, HeaderMap::new(), Payload::default())
        .await
        .unwrap();
    let mut body = answer.into_body();
    assert_eq!(http.next_bytes(&mut body).await.unwrap().unwrap(), "hello");
    assert!(http.next_bytes(&mut body).await.is_err());
    server.thread.join().unwrap();
}

/// More than the system takes before somebody reads it.
const LARGE: usize = 32 * 1024 * 1024;

#[tokio::test]
async fn a_store_may_refuse_early_but_not_agree() {
    for (answer, expected) in [
        (
            "HTTP/1.1 412 Precondition Failed\r\nContent-Length: 2\r\n\r\nno",
            Some(412),
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", None),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/path", listener.local_addr().unwrap());
        let (done, wait) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            read_request(&mut stream, 0);
            stream.write_all(answer.as_bytes()).unwrap();
            // Held open: the answer is there to be read, and nobody takes the rest.
            let _ = wait.recv();
            Vec::new()
        });
        let server = Server { address, thread };
        let http = Http::new(false).unwrap();
        let answered = ask(&http, &server, Method::PUT, vec![b'a'; LARGE]).await;
        assert_eq!(answered.ok().map(|(status, _)| status), expected);
        drop(done);
        server.thread.join().unwrap();
    }
}

#[tokio::test]
async fn large_answers_come_whole_in_large_pieces() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/path", listener.local_addr().unwrap());
    let size = 5 * 1024 * 1024 + 77;
    let content: Vec<u8> = (0..size).map(|at: usize| (at * 31 % 251) as u8).collect();
    let sent = content.clone();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        read_request(&mut stream, 0);
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n").unwrap();
        sent.chunks(77_777)
            .for_each(|chunk| stream.write_all(chunk).unwrap());
    });
    let http = Http::new(false).unwrap();
    let uri: Uri = address.parse().unwrap();
    let answer = http
        .send(&Method::GET, &uri, HeaderMap::new(), Payload::default())
        .await
        .unwrap();
    let (mut body, mut pieces, mut came) = (answer.into_body(), 0, Vec::new());
    while let Some(bytes) = http.next_bytes(&mut body).await.unwrap() {
        pieces += 1;
        came.extend_from_slice(&bytes);
    }
    assert!(came == content, "the bytes are the same");
    assert_eq!(pieces, 6);
    thread.join().unwrap();
}
