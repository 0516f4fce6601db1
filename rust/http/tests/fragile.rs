//! Panics: what they leave half done is mended before anybody else sees it, and they end where they are caught.
//!
//! What does this belongs to the core, which is an extension module and has no cargo tests of its own; it is pure, so
//! it is tested here.

#![allow(clippy::unwrap_used)]

#[path = "../../core/src/reactor/fragile.rs"]
mod fragile;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use fragile::{Fragile, outlive};

#[test]
fn whoever_comes_after_a_panic_finds_the_value_mended_once() {
    let value = Fragile::new(vec!["whole"]);
    let mended = AtomicU32::new(0);
    let mend = |value: &mut Vec<&str>| {
        mended.fetch_add(1, Ordering::Relaxed);
        *value = vec!["mended"];
    };
    assert_eq!(*value.lock(mend), ["whole"]);

    for round in 1..=3 {
        let outcome = outlive(|| {
            value.lock(mend).push("half");
            let _held = value.lock(mend);
            panic!("while it is held");
        });
        assert!(outcome.is_none());
        for _ in 0..2 {
            assert_eq!(*value.lock(mend), ["mended"]);
        }
        assert_eq!(mended.load(Ordering::Relaxed), round);
    }
}

#[test]
fn a_panic_beside_the_value_leaves_it_alone() {
    let value = Fragile::new(1);
    let outcome = outlive(|| {
        *value.lock(|_| unreachable!()) = 2;
        panic!("after it was given back");
    });
    assert!(outcome.is_none());
    assert_eq!(*value.lock(|_| unreachable!()), 2);
}

#[test]
fn a_panic_in_mending_leaves_it_to_the_next() {
    let value = Fragile::new(0);
    let first = outlive(|| {
        let _held = value.lock(|_| ());
        panic!("while it is held");
    });
    let second = outlive(|| drop(value.lock(|_| panic!("while it is mended"))));
    assert!(first.is_none() && second.is_none());
    assert_eq!(*value.lock(|value| *value = 7), 7);
}

#[test]
fn a_thread_goes_on_after_it_outlived_a_panic() {
    let value = Arc::new(Fragile::new(0));
    let own = value.clone();
    let thread = std::thread::spawn(move || {
        for round in 0..10 {
            outlive(|| {
                *own.lock(|_| ()) += 1;
                assert!(round % 2 == 0, "every other round");
            });
        }
    });
    assert!(thread.join().is_ok());
    assert_eq!(*value.lock(|_| ()), 10);
}
