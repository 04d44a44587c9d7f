use std::io::{Cursor, Write};

use super::*;

const SHA: &str = "3A2118df47bf3f04285649f0455c2fc6fe2dc7f0b237073038aa00af41f0d5f2";

fn read(bytes: impl AsRef<[u8]>) -> Result<Vec<InventoryRow>, InventoryError> {
    let mut inventory = Inventory::read(
        Cursor::new(bytes.as_ref().to_vec()),
        "list.csv",
        &[StoreKind::Fs, StoreKind::S3],
    )?;
    let mut rows = Vec::new();
    loop {
        let batch = inventory.next_batch(2)?;
        if batch.is_empty() {
            return Ok(rows);
        }
        rows.extend(batch);
    }
}

fn problems(text: &str) -> Vec<(u64, String)> {
    match read(text) {
        Err(InventoryError::Rows { problems, .. }) => problems
            .into_iter()
            .map(|problem| (problem.line, problem.column))
            .collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn rows_are_read_with_labels_and_replicas() {
    let text = format!(
        "\u{feff}dataset,key,size,sha256,replicas,section,priority\n\
         libstdc++6,pool/a b.deb,10,{SHA},src;b,libs,\n\
         other,x,0,,,,\n\
         libstdc++6,\"pool/a,b\",20,,src;b,libs,\n"
    );
    let rows = read(text).unwrap();
    assert_eq!(rows.iter().map(|row| row.line).collect::<Vec<_>>(), [2, 3, 4]);
    assert_eq!(rows[0].sha256.unwrap()[0], 0x3a);
    assert_eq!(rows[2].key.as_str(), "pool/a,b");
    assert_eq!(
        rows[0]
            .replicas
            .iter()
            .map(BackendName::as_str)
            .collect::<Vec<_>>(),
        ["src", "b"]
    );
    assert_eq!(
        *rows[0].labels,
        Labels::from([("section".to_owned(), "libs".to_owned())])
    );
    assert!(rows[1].labels.is_empty() && rows[1].replicas.is_empty() && rows[1].sha256.is_none());
    assert!(Arc::ptr_eq(&rows[0].labels, &rows[2].labels));
}

#[test]
fn every_wrong_cell_is_named_by_line_and_column() {
    let text = "dataset,key,size,sha256,replicas,theme\n\
        a/b,k,1,,,\n\
        d,../k,1,,,\n\
        d,k,1.5,,,\n\
        d,k,+1,,,\n\
        d,k,9223372036854775808,,,\n\
        d,k,1,abc,,\n\
        d,k,1,,B_1,\n\
        d,k,1,,b;b,\n\
        d,k,1\n\
        d,k,1,,,red\n\
        d,k,1,,,red\n\
        d,l,1,,,blue\n\
        d,m,1,,b,red\n";
    let expected = [
        (2, "dataset"),
        (3, "key"),
        (4, "size"),
        (5, "size"),
        (6, "size"),
        (7, "sha256"),
        (8, "replicas"),
        (9, "replicas"),
        (10, "row"),
        (12, "key"),
        (13, "theme"),
        (14, "replicas"),
    ];
    assert_eq!(
        problems(text),
        expected.map(|(line, column)| (line, column.to_owned()))
    );
}

#[test]
fn a_key_that_a_store_would_change_is_refused() {
    assert_eq!(
        problems("dataset,key,size\nd,\"a \",1\n"),
        [(2, "key".to_owned())]
    );
    let long = ["abcdefghi"; 110].join("/");
    assert_eq!(
        problems(&format!("dataset,key,size\nd,{long},1\n")),
        [(2, "key".to_owned())]
    );
    let only_fs = Inventory::read(
        Cursor::new(b"dataset,key,size\nd,\"a \",1\n"),
        "x",
        &[StoreKind::Fs],
    );
    assert_eq!(only_fs.unwrap().next_batch(9).unwrap().len(), 1);
}

#[test]
fn twenty_problems_are_enough() {
    let text = format!("dataset,key,size\n{}", "d,,1\n".repeat(100));
    assert_eq!(problems(&text).len(), PROBLEMS_MAX);
    let error = read(&text).unwrap_err().to_string();
    assert!(
        error.contains("`list.csv`") && error.contains("line 2, column `key`"),
        "{error}"
    );
}

#[test]
fn text_that_is_no_utf8_is_a_problem_of_its_row() {
    let bytes = [b"dataset,key,size\nd,a,1\nd,\xff,1\nd,b,x\n".as_slice()].concat();
    match read(bytes) {
        Err(InventoryError::Rows { problems, .. }) => {
            assert_eq!(
                problems.iter().map(|problem| problem.line).collect::<Vec<_>>(),
                [3, 4]
            );
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn headers_say_what_is_missing() {
    for (text, needle) in [
        ("", "empty"),
        ("dataset,key\n", "`size` is missing"),
        ("Dataset,key,size\n", "it has `Dataset`, `key`, `size`"),
        ("dataset,key,size,key\n", "`key` comes twice"),
        ("dataset,key,size,\n", "column 4 has no name"),
    ] {
        match read(text) {
            Err(InventoryError::Header { message, .. }) => assert!(message.contains(needle), "{message}"),
            other => panic!("{other:?}"),
        }
    }
    assert!(read("dataset,key,size\n").unwrap().is_empty());
}

#[test]
fn a_quotation_mark_that_is_not_closed_does_not_draw_in_the_file() {
    let text = format!(
        "dataset,key,size\nd,\"a,1\n{}",
        "d,bbbbbbbbbbbbbbbb,1\n".repeat(200_000)
    );
    match read(text) {
        Err(InventoryError::Read { line: 1, source, .. }) => assert!(source.to_string().contains("1 MiB")),
        other => panic!("{:?}", other.map(|rows| rows.len())),
    }
}

fn plain() -> String {
    let rows: String = (0..20_000)
        .map(|at| format!("d{},k{at},{at}\n", at % 7))
        .collect();
    format!("dataset,key,size\n{rows}")
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn zstd(text: &str) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(text.as_bytes(), ruzstd::encoding::CompressionLevel::Fastest)
}

#[test]
fn compressed_inventories_read_as_plain_ones_in_any_number_of_parts() {
    let text = plain();
    let expected = read(&text).unwrap();
    assert_eq!(expected.len(), 20_000);
    let (first, second) = text.split_at(text.len() / 2);
    let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3][..], &zstd(&text)].concat();
    let forms = [
        gzip(&text),
        [gzip(first), gzip(second)].concat(),
        zstd(&text),
        [zstd(first), zstd(second)].concat(),
        skippable,
    ];
    for (at, form) in forms.into_iter().enumerate() {
        assert_eq!(read(form).unwrap(), expected, "form {at}");
    }
}

#[test]
fn an_inventory_that_is_cut_off_or_damaged_is_refused() {
    let text = plain();
    for form in [gzip(&text), zstd(&text)] {
        let cut = &form[..form.len() - 9];
        assert!(matches!(read(cut), Err(InventoryError::Read { .. })));
        let mut damaged = form.clone();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 0x55;
        assert!(read(damaged).is_err());
    }
}

/// `dataset,key,size` and `d,k,1`, as `xz` writes it.
const XZ: &str = "fd377a585a000004e6d6b4460200210116000000742fe5a3010016646174617365742c6b65792c73697a650a642c6b2c310a000040017d6fecfd841600012f17810849b11fb6f37d010000000004595a";

#[test]
fn xz_is_read() {
    let bytes: Vec<u8> = (0..XZ.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&XZ[at..at + 2], 16).unwrap())
        .collect();
    let rows = read(&bytes).unwrap();
    assert_eq!((rows.len(), rows[0].key.as_str()), (1, "k"));
    assert!(read(&bytes[..bytes.len() - 20]).is_err());
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Inventory::open(Path::new("no/such.csv"), &[])
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("`no/such.csv`"), "{error}");
}
