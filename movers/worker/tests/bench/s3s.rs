//! A second S3 server beside SeaweedFS, in this process: `s3s-fs`, which keeps objects as files and knows less.

use std::collections::BTreeMap;
use std::path::Path;

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;

/// What the environment has to hold.
pub fn variables() -> BTreeMap<String, String> {
    BTreeMap::from([
        ("BENCH_ACCESS_KEY_ID".to_owned(), "s3s-key".to_owned()),
        (
            "BENCH_SECRET_ACCESS_KEY".to_owned(),
            "s3s-secret-0123456789".to_owned(),
        ),
    ])
}

/// Serves a folder with a bucket `bench` until the test's runtime ends, and says where.
pub fn serve(folder: &Path) -> String {
    std::fs::create_dir_all(folder.join("bench")).unwrap();
    let mut service = S3ServiceBuilder::new(s3s_fs::FileSystem::new(folder).unwrap());
    let keys = variables();
    service.set_auth(SimpleAuth::from_single(
        keys["BENCH_ACCESS_KEY_ID"].as_str(),
        keys["BENCH_SECRET_ACCESS_KEY"].as_str(),
    ));
    let service = service.build();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let connection = http1::Builder::new().serve_connection(TokioIo::new(socket), service.clone());
            // A client that goes away is no matter.
            tokio::spawn(async move { drop(connection.await) });
        }
    });
    endpoint
}
