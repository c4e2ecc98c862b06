//! The pages lead where they say: links, and tests that they name.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Files below `directory`, from the root, with one of these endings; without what builds and tools make.
fn files(directory: &str, extensions: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut waiting = vec![root().join(directory)];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()) {
            let name = entry.file_name().unwrap().to_string_lossy().into_owned();
            if entry.is_dir() {
                if !name.starts_with('.') && name != "target" && name != "node_modules" {
                    waiting.push(entry);
                }
            } else if entry.extension().is_some_and(|it| extensions.contains(&it.to_string_lossy().as_ref())) {
                found.push(entry.strip_prefix(root()).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

fn pages() -> Vec<PathBuf> {
    let mut pages = files("docs", &["md"]);
    for directory in ["captures", "crates", "deploy", "examples", "interop"] {
        pages.extend(files(directory, &["md"]));
    }
    pages.extend(
        fs::read_dir(root())
            .unwrap()
            .map(|it| PathBuf::from(it.unwrap().file_name()))
            .filter(|it| it.extension().is_some_and(|it| it == "md")),
    );
    assert!(pages.len() > 40, "{pages:?}");
    pages
}

fn read(page: &Path) -> String {
    fs::read_to_string(root().join(page)).unwrap()
}

/// What a page says outside of its examples.
fn prose(text: &str) -> String {
    let parts: Vec<&str> = text.split("```").step_by(2).collect();
    parts.join("\n")
}

/// Where a page links to within the project: pages and files, and headings of these.
fn links(page: &Path) -> Vec<(PathBuf, Option<String>)> {
    let text = prose(&read(page));
    let mut found = Vec::new();
    for after in text.split("](").skip(1) {
        let target = after.split([')', ' ']).next().unwrap();
        if target.contains("://") || target.starts_with("mailto:") {
            continue;
        }
        let (path, heading) = target.split_once('#').map_or((target, None), |(path, it)| (path, Some(it.to_owned())));
        let mut at = PathBuf::new();
        let whole = if path.is_empty() { page.to_owned() } else { page.parent().unwrap().join(path) };
        for part in whole.components() {
            match part {
                Component::ParentDir => assert!(at.pop(), "{}: {target} leaves the project", page.display()),
                Component::CurDir => {}
                part => at.push(part),
            }
        }
        found.push((at, heading));
    }
    found
}

/// A heading's name in a link.
fn name_of(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().to_lowercase();
    kept.chars()
        .filter(|it| it.is_alphanumeric() || " -_".contains(*it))
        .map(|it| if it == ' ' { '-' } else { it })
        .collect()
}

#[test]
fn every_link_leads_somewhere() {
    for page in pages() {
        for (target, heading) in links(&page) {
            let (page, path) = (page.display(), root().join(&target));
            assert!(path.exists(), "{page} links to {}, which is not there", target.display());
            if let Some(heading) = heading {
                let text = fs::read_to_string(&path).unwrap();
                let is_there = text.lines().filter(|line| line.starts_with('#')).any(|line| name_of(line) == heading);
                assert!(is_there, "{page} links to {}#{heading}: there is no such heading", target.display());
            }
        }
    }
}

#[test]
fn every_page_is_found_from_the_readme_in_either_language() {
    for readme in ["README.md", "README.zh.md"] {
        let (mut seen, mut waiting) = (BTreeSet::new(), vec![PathBuf::from(readme)]);
        while let Some(page) = waiting.pop() {
            let next = if root().join(&page).is_dir() { files(page.to_str().unwrap(), &["md"]) } else { Vec::new() };
            let linked = match page.extension().is_some_and(|it| it == "md") {
                true => links(&page).into_iter().map(|(target, _)| target).collect(),
                false => next,
            };
            waiting.extend(linked.into_iter().filter(|it| seen.insert(it.clone())));
        }
        let lost: Vec<_> = files("docs", &["md"]).into_iter().filter(|page| !seen.contains(page)).collect();
        assert!(lost.is_empty(), "no way leads from {readme} to {lost:?}");
    }
}

#[test]
fn every_test_that_a_page_names_is_there() {
    let sources: String = files("crates", &["rs"]).iter().map(|file| read(file)).collect();
    let is_name = |it: &str| {
        it.matches('_').count() > 4 && it.chars().all(|it| it.is_ascii_lowercase() || it == '_' || it.is_ascii_digit())
    };
    let mut seen = 0;
    for page in pages() {
        for name in prose(&read(&page)).split('`').skip(1).step_by(2).filter(|it| is_name(it)) {
            let metric = ["rocketmq_", "cometmq_"].iter().any(|family| name.starts_with(family));
            let listed = ["_total", "_bytes", "_seconds"].iter().any(|unit| name.ends_with(unit));
            if !metric && !listed {
                seen += 1;
                assert!(
                    sources.contains(&format!("fn {name}(")),
                    "{} names the test `{name}`, which is not there",
                    page.display()
                );
            }
        }
    }
    assert!(seen > 50, "{seen} names");
}
