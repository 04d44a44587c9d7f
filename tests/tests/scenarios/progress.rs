//! What a person sees who waits.

use std::process::{Command, Stdio};

use domicile_tests::{Estate, installed, manifest};

use crate::seed;

/// What an apply draws on a terminal of eighty columns, which `script` makes.
fn drawn(estate: &Estate) -> Option<String> {
    let Some(script) = installed("script") else {
        eprintln!("skipped: a_terminal_of_eighty_columns_gets_bars: there is no `script`");
        return None;
    };
    let apply = format!(
        "stty cols 80 rows 24; exec {} apply -f manifests --yes",
        domicile_tests::binary().display()
    );
    let output = Command::new(script)
        .args(["-qec", &apply, "/dev/null"])
        .current_dir(estate.path("."))
        .env("TERM", "xterm-256color")
        .env("SHELL", "/bin/sh")
        .stdin(Stdio::null())
        .output()
        .expect("script starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}");
    Some(text)
}

#[test]
fn a_terminal_of_eighty_columns_gets_bars() {
    let estate = Estate::new();
    seed(&estate, "d");
    let slow = manifest::folder("slow", "home", "DE", &["limits: {bytesPerSecond: 60Ki}"]);
    let dataset = manifest::dataset("d", "home", "origin", &[]);
    estate.manifests(&(manifest::home(&[]) + &slow + &dataset + &manifest::copies(2)));
    let Some(text) = drawn(&estate) else { return };
    let line = |start: &str| {
        let lines = text.split(['\r', '\n']);
        let mut cut = lines.filter_map(|line| line.find(start).map(|at| line[at..].to_owned()));
        cut.find(|line| line.contains('\u{2588}') && line.contains("% of 78."))
    };
    assert!(line("copying").is_some(), "a bar for all:\n{text}");
    assert!(line("d \u{2192} slow").is_some(), "a bar for the copy:\n{text}");
    assert!(text.contains("1 copy verified"), "what came out is told:\n{text}");
}
