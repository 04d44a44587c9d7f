//! Manifests from folders, files and standard input; their errors with the place marked.

use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use domicile_policies::{Diagnostic, Manifests, Severity, Source};
use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode};

use crate::cli::{Files, Global};
use crate::outcome::Refusal;
use crate::terminal;

/// Largest manifest file that is read, in bytes.
const MANIFEST_MAX: u64 = 64 << 20;

/// Reads every manifest file that the user named, in the order of the names within a folder.
pub fn fresh_sources(files: &Files) -> anyhow::Result<Vec<Source>> {
    let mut sources = Vec::new();
    for path in &files.files {
        if path.as_os_str() == "-" {
            let mut text = String::new();
            std::io::stdin()
                .read_to_string(&mut text)
                .context("standard input could not be read as UTF-8 text")?;
            let folder = absolute(Path::new("."))?;
            sources.push(Source {
                name: "<stdin>".to_owned(),
                text,
                folder,
                stored: false,
            });
            continue;
        }
        let metadata =
            std::fs::metadata(path).with_context(|| format!("`{}` could not be read", path.display()))?;
        if !metadata.is_dir() {
            sources.push(read_file(path)?);
            continue;
        }
        let manifests = manifests_in(path)?;
        if manifests.is_empty() {
            return Err(Refusal::usage(format!(
                "the folder `{}` has no manifests: files that end with .yaml, .yml or .json (subfolders are not read)",
                path.display()
            )));
        }
        for file in manifests {
            sources.push(read_file(&file)?);
        }
    }
    Ok(sources)
}

fn manifests_in(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder)
        .with_context(|| format!("the folder `{}` could not be read", folder.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry
            .with_context(|| format!("the folder `{}` could not be read", folder.display()))?
            .path();
        let is_manifest = path
            .extension()
            .and_then(|e| e.to_str())
            .is_some_and(|e| matches!(e, "yaml" | "yml" | "json"));
        let hidden = path
            .file_name()
            .and_then(|n| n.to_str())
            .is_none_or(|n| n.starts_with('.'));
        if is_manifest && !hidden && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read_file(path: &Path) -> anyhow::Result<Source> {
    let size = std::fs::metadata(path).map(|m| m.len()).unwrap_or(0);
    anyhow::ensure!(
        size <= MANIFEST_MAX,
        "`{}` has {size} bytes, a manifest has at most {MANIFEST_MAX}; datasets by the million are imported from an inventory",
        path.display()
    );
    let bytes = std::fs::read(path).with_context(|| format!("`{}` could not be read", path.display()))?;
    let text = String::from_utf8(bytes).map_err(|e| {
        anyhow::anyhow!(
            "`{}` is no UTF-8 text: byte {}",
            path.display(),
            e.utf8_error().valid_up_to()
        )
    })?;
    let folder = path
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    Ok(Source {
        name: path.display().to_string(),
        text,
        folder: absolute(folder)?,
        stored: false,
    })
}

fn absolute(folder: &Path) -> anyhow::Result<String> {
    let absolute = std::path::absolute(folder)
        .with_context(|| format!("the folder `{}` has no absolute path", folder.display()))?;
    absolute.into_os_string().into_string().map_err(|path| {
        anyhow::anyhow!(
            "the folder `{}` has a name that is no UTF-8 text",
            Path::new(&path).display()
        )
    })
}

/// Many marked errors as one error.
#[derive(Debug)]
pub struct MarkedErrors(pub String);

impl fmt::Display for MarkedErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for MarkedErrors {}

/// Reads manifests from sources; mistakes come as one error with every place marked.
pub fn manifests(global: &Global, sources: &[Source]) -> anyhow::Result<Manifests> {
    domicile_policies::read(sources).map_err(|diagnostics| {
        MarkedErrors(render(sources, &diagnostics, terminal::colour_errors(global))).into()
    })
}

/// Renders diagnostics with their place in the file marked, and a last line that counts the errors.
pub fn render(sources: &[Source], diagnostics: &[Diagnostic], colour: bool) -> String {
    let theme = if colour {
        GraphicalTheme::unicode()
    } else {
        GraphicalTheme::unicode_nocolor()
    };
    let handler = GraphicalReportHandler::new_themed(theme)
        .with_width(120)
        .with_links(false);
    let mut text = String::new();
    for diagnostic in diagnostics {
        let marked = Marked::new(sources, diagnostic);
        // Writing to a String cannot fail; a diagnostic that cannot be drawn is still said in words.
        if handler.render_report(&mut text, &marked).is_err() {
            text.push_str(&diagnostic.message);
        }
        text.push('\n');
    }
    let errors = diagnostics
        .iter()
        .filter(|d| d.severity == Severity::Error)
        .count();
    let warnings = diagnostics.len() - errors;
    let plural = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    if errors > 0 {
        text.push_str(&format!("{} found, nothing was changed", plural(errors, "error")));
    } else if warnings > 0 {
        text.push_str(&format!("{} found", plural(warnings, "warning")));
    }
    text
}

struct Marked<'a> {
    diagnostic: &'a Diagnostic,
    message: String,
    source: Option<NamedSource<String>>,
}

impl<'a> Marked<'a> {
    fn new(sources: &[Source], diagnostic: &'a Diagnostic) -> Self {
        let source = sources.get(diagnostic.source);
        let hidden = diagnostic.hide_source;
        let message = match source {
            Some(source) if hidden => {
                let before = source.text.get(..diagnostic.offset).unwrap_or("");
                let line = before.matches('\n').count() + 1;
                format!(
                    "{} ({}:{line}; the line is not shown)",
                    diagnostic.message, source.name
                )
            }
            _ => diagnostic.message.clone(),
        };
        let source = source
            .filter(|_| !hidden)
            .map(|s| NamedSource::new(&s.name, diagnostic.shown_text(s)));
        Self {
            diagnostic,
            message,
            source,
        }
    }
}

impl fmt::Debug for Marked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Display for Marked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Marked<'_> {}

impl miette::Diagnostic for Marked<'_> {
    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.diagnostic.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn help<'b>(&'b self) -> Option<Box<dyn fmt::Display + 'b>> {
        self.diagnostic
            .help
            .as_ref()
            .map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_ref().map(|source| source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        self.source.as_ref()?;
        let span = LabeledSpan::underline((self.diagnostic.offset, self.diagnostic.length.max(1)));
        Some(Box::new(std::iter::once(span)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "apiVersion: domicile.dev/v1alpha1\nkind: Domain\nmetadata: {name: a}\nspec: {jurisdiction: DE}\n---\nkind: Backend\nmetadata: {name: b}\n";

    fn rendered(spec: &str) -> String {
        let source = Source {
            name: "estate.yaml".to_owned(),
            text: format!("{HEAD}{spec}"),
            folder: "/estate".to_owned(),
            stored: false,
        };
        let found = domicile_policies::read(std::slice::from_ref(&source)).expect_err("a mistake");
        render(&[source], &found, false)
    }

    #[test]
    fn mistakes_near_a_secret_are_drawn_and_the_secret_is_masked() {
        let text = rendered(
            "spec:\n  domain: a\n  capasity: 1Ti\n  store: {type: S3, buckt: my-data}\n  credentials: {accessKeyId: AKIAX, secretAccessKey: hunter2}\n",
        );
        assert!(!text.contains("hunter2") && !text.contains("AKIAX"), "{text}");
        for shown in [
            "capasity: 1Ti",
            "store: {type: S3, buckt: my-data}",
            "credentials: {accessKeyId: *****, secretAccessKey: *******}",
            "estate.yaml:10:3",
            "estate.yaml:11:21",
            "estate.yaml:12:17",
            "estate.yaml:12:37",
            "4 errors found",
        ] {
            assert!(text.contains(shown), "`{shown}` is not in {text}");
        }
    }

    #[test]
    fn a_syntax_error_near_a_secret_names_the_line_only() {
        let text = rendered("spec:\n  credentials: {secretAccessKey: hunter2\n  x: ]\n");
        assert!(!text.contains("hunter2"), "{text}");
        assert!(text.contains("(estate.yaml:10; the line is"), "{text}");
    }
}
