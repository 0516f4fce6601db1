//! Request heads of 1, 9 and 40 fields. Ferrule does all that serving needs: known names, framing,
//! Host, keep-alive, and the copy into the block; `httparse` only splits lines.

use std::hint::black_box;
use std::mem::MaybeUninit;

use ferrule_http::h1::{Connection, Event};
use ferrule_http::{Limits, Request};

/// The least that is legal, what a browser sends (about 500 octets), and the same with what
/// proxies, tracing and an application add.
pub const HEADS: [(usize, &[u8]); 3] = [
    (1, include_bytes!("../heads/1.http")),
    (9, include_bytes!("../heads/9.http")),
    (40, include_bytes!("../heads/40.http")),
];

pub fn ferrule(head: &'static [u8]) -> impl FnMut() {
    let (limits, mut request) = (Limits::default(), Request::new());
    move || {
        let step = Connection::new().next(&limits, black_box(head), &mut request);
        assert!(matches!(step, Ok(step) if step.event == Event::Request));
        black_box(&request);
    }
}

pub fn httparse(head: &'static [u8]) -> impl FnMut() {
    move || {
        let mut headers = [httparse::EMPTY_HEADER; 100];
        let mut request = httparse::Request::new(&mut headers);
        let status = request.parse(black_box(head));
        assert!(status.is_ok_and(|status| status.is_complete()));
        black_box(&request);
    }
}

/// httparse's cheapest way: no initialisation of the header array.
pub fn httparse_uninit(head: &'static [u8]) -> impl FnMut() {
    move || {
        let mut headers = [const { MaybeUninit::uninit() }; 100];
        let mut request = httparse::Request::new(&mut []);
        let status = request.parse_with_uninit_headers(black_box(head), &mut headers);
        assert!(status.is_ok_and(|status| status.is_complete()));
        black_box(&request);
    }
}
