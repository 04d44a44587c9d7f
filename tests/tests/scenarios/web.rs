//! A plain web server as a source: what is no listing is taken for none.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use domicile_tests::{Estate, manifest};

const LISTING: &str = "<html><head><title>Index of /set/</title></head><body><a href=\"../\">..</a>\
                       <a href=\"a.bin\">a.bin</a><a href=\"b.bin\">b.bin</a></body></html>";
/// Its links lead down as well.
const PAGE: &str =
    "<html><head><title>Welcome!</title></head><body><a href=\"b.bin\">Sign in</a></body></html>";
const OBJECT: &str = "what lies there";

/// A server of two objects, which may put a page in the place of their listing.
struct Site {
    address: String,
    shows_a_page: Arc<AtomicBool>,
}

impl Site {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        let shows_a_page = Arc::new(AtomicBool::new(false));
        let page = Arc::clone(&shows_a_page);
        // It ends with the process.
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let page = Arc::clone(&page);
                std::thread::spawn(move || answer(connection, &page));
            }
        });
        Self {
            address,
            shows_a_page,
        }
    }
}

fn answer(mut connection: TcpStream, shows_a_page: &AtomicBool) -> Option<()> {
    let mut lines = BufReader::new(connection.try_clone().ok()?).lines();
    let asked = lines.next()?.ok()?;
    while lines
        .next()
        .is_some_and(|line| line.is_ok_and(|line| !line.is_empty()))
    {}
    let mut words = asked.split(' ');
    let (method, path) = (words.next()?, words.next()?);
    let body = match path {
        "/" | "/set" | "/set/" if shows_a_page.load(Ordering::SeqCst) => PAGE,
        "/" | "/set" | "/set/" => LISTING,
        "/set/a.bin" | "/set/b.bin" => OBJECT,
        _ => {
            let _ = connection
                .write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            return None;
        }
    };
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\netag: \"1\"\r\nconnection: close\r\n\r\n",
        body.len()
    );
    let body = if method == "HEAD" { "" } else { body };
    connection.write_all(format!("{head}{body}").as_bytes()).ok()
}

#[test]
fn a_page_in_the_place_of_a_listing_is_an_error_and_nothing_is_recorded() {
    let site = Site::new();
    let estate = Estate::new();
    let store = format!("{{type: Http, endpoint: \"http://{}\"}}", site.address);
    let web = manifest::backend("web", "home", "DE", &store, &["accessMode: ReadOnly"]);
    let dataset = manifest::dataset("set", "home", "web", &[]);
    let wants = |copies: usize| {
        estate.manifests(&(manifest::home(&["b1"]) + &web + &dataset + &manifest::copies(copies)));
    };
    let objects = || {
        let told = estate
            .run(&["get", "datasets", "set", "-o", "json"])
            .exits(0)
            .json();
        (
            told["status"]["objects"].clone(),
            told["status"]["findings"].clone(),
        )
    };
    // From the beginning: no object is registered.
    wants(2);
    site.shows_a_page.store(true, Ordering::SeqCst);
    let told = "gave a page titled `Welcome!` that is no list of files";
    estate
        .run(&["plan", "-f", "manifests"])
        .says(told)
        .says("`/set/`");
    estate.apply().exits(3).says(told);
    assert_eq!(objects().0, 0);
    site.shows_a_page.store(false, Ordering::SeqCst);
    estate.apply().exits(0).says("1 copy verified");
    assert_eq!(objects(), (2.into(), serde_json::json!([])));
    let copy = std::fs::read_to_string(estate.path("stores/b1/set/b.bin")).expect("a copy");
    assert_eq!(copy, OBJECT);
    // And later: nothing is gone.
    site.shows_a_page.store(true, Ordering::SeqCst);
    estate.apply().says(told);
    estate
        .run(&["dataset", "import", "--scan", "web/set", "-f", "manifests"])
        .says("no list of files");
    assert_eq!(
        objects(),
        (2.into(), serde_json::json!([])),
        "nothing was recorded of a page"
    );
    site.shows_a_page.store(false, Ordering::SeqCst);
    estate.apply().exits(0);
}
