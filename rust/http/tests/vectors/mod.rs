//! Where the shared test vectors are, for the tests that read them.

use std::path::{Path, PathBuf};

/// The directory of the vectors, or `None` (and a line that says so) where this machine has only
/// the repository.
pub fn directory(kind: &str) -> Option<PathBuf> {
    let root = std::env::var_os("FERRULE_VECTORS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors"),
        PathBuf::from,
    );
    let directory = root.join(kind);
    if directory.is_dir() {
        return Some(directory);
    }
    println!(
        "skipped: no test vectors in {} (set FERRULE_VECTORS)",
        directory.display()
    );
    None
}

/// The JSON files below a directory, sorted.
pub fn files(directory: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "json")
        })
        .collect();
    files.sort();
    files
}

pub fn json(file: &Path) -> serde_json::Value {
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

pub fn unhex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2));
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}
