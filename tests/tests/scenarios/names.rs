//! Odd names are kept byte for byte or refused by name; nothing leads out of a backend's root.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

use domicile_tests::{files, skip};

use crate::{assert_copy, simple};

#[test]
fn odd_but_honest_names_are_kept_byte_for_byte() {
    let estate = simple(&["b1"], 2);
    let long = vec!["abcdefghi"; 100].join("/");
    let names = [
        "plus+and%20percent",
        "zeile\nzwei",
        "Größe/名前/файл",
        " leading space",
        "trailing space ",
        "tab\tand\\backslash",
        "'quotes\"and;semicolons",
        "-rf",
        "...",
        "e\u{301}",
        "\u{e9}",
        &"n".repeat(255),
        &long,
    ];
    for (at, name) in names.iter().enumerate() {
        estate.write(&format!("stores/origin/d/{name}"), format!("object {at}"));
    }
    estate.apply().exits(0);
    assert_copy(&estate, "d", "b1");
    estate
        .run(&["plan", "-f", "manifests", "--detailed-exitcode"])
        .exits(0);
}

#[test]
fn names_of_temporary_files_and_of_no_text_are_refused_by_name() {
    let estate = simple(&["b1"], 2);
    estate.write(
        "stores/origin/d/.domicile-0123",
        "looks like a temporary file of ours",
    );
    let no_text = estate
        .path("stores/origin/d")
        .join(std::ffi::OsStr::from_bytes(b"latin-\xe9.txt"));
    if std::fs::write(&no_text, "a name in another encoding").is_err() {
        return skip(
            "names_of_temporary_files_and_of_no_text_are_refused_by_name",
            "this file system takes UTF-8 names only",
        );
    }
    let outcome = estate.apply();
    assert!([0, 3].contains(&outcome.code), "{}", outcome.all());
    let outcome = outcome.says(".domicile-0123").says("latin-");
    assert!(!outcome.stdout.is_empty() || !outcome.stderr.is_empty());
    let copy = files(&estate.path("stores/b1/d"));
    assert_eq!(
        copy.len(),
        5,
        "only the honest names are copied: {:?}",
        copy.keys()
    );
    assert!(no_text.exists(), "nothing at the origin is touched");
    assert!(
        estate.path("stores/origin/d/.domicile-0123").exists(),
        "nothing at the origin is touched"
    );
}

#[test]
fn symbolic_links_of_an_origin_are_not_followed() {
    let estate = simple(&["b1"], 2);
    estate.write("secret/password.txt", "not for others");
    symlink(
        estate.path("secret/password.txt"),
        estate.path("stores/origin/d/file-link"),
    )
    .expect("a link");
    symlink(estate.path("secret"), estate.path("stores/origin/d/folder-link")).expect("a link");
    symlink("a.bin", estate.path("stores/origin/d/inside-link")).expect("a link");
    let outcome = estate.apply();
    assert!([0, 3].contains(&outcome.code), "{}", outcome.all());
    outcome.says("file-link").says("folder-link");
    let copy = files(&estate.path("stores/b1"));
    assert!(
        !copy.values().any(|bytes| bytes == b"not for others"),
        "{:?}",
        copy.keys()
    );
    assert_copy(&estate, "d", "b1");
}

#[test]
fn a_planted_link_leads_no_write_out_of_the_root() {
    let estate = simple(&["b1", "b2"], 3);
    estate.write("outside/kept.txt", "outside");
    std::fs::create_dir_all(estate.path("stores/b1/d")).expect("a folder");
    symlink(estate.path("outside"), estate.path("stores/b1/d/deep")).expect("a link");
    estate.apply().exits(5).says("b1");
    assert_eq!(
        files(&estate.path("outside")).len(),
        1,
        "nothing is written outside the root"
    );
    assert_copy(&estate, "d", "b2");
}

#[test]
fn a_prefix_that_leads_out_is_refused() {
    for prefix in ["../secret/", "/etc/", "d/../../secret/"] {
        let estate = simple(&["b1"], 2);
        estate.write("stores/secret/password.txt", "not for others");
        let text = std::fs::read_to_string(estate.path("manifests/estate.yaml")).expect("the manifests");
        estate.manifests(&text.replace("prefix: d/", &format!("prefix: {prefix}")));
        estate.apply().exits(1).says("prefix");
        assert_eq!(files(&estate.path("stores/b1")).len(), 0);
    }
}
