//! llhttp 9.3, from a shared library that the caller names: no crate has it. Its callbacks store
//! where target, names and values lie, which is what the other parsers return.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::hint::black_box;
use std::ptr;

/// `llhttp_t` is opaque here; that of 9.3 has 104 bytes on 64-bit machines.
#[repr(C, align(16))]
struct Parser([u8; 256]);

type DataCallback = extern "C" fn(*mut Parser, *const c_char, usize) -> c_int;
type Callback = extern "C" fn(*mut Parser) -> c_int;

/// `llhttp_settings_t` of 9.3.
#[repr(C)]
#[derive(Default)]
struct Settings {
    message_begin: Option<Callback>,
    protocol: Option<DataCallback>,
    url: Option<DataCallback>,
    status: Option<DataCallback>,
    method: Option<DataCallback>,
    version: Option<DataCallback>,
    header_field: Option<DataCallback>,
    header_value: Option<DataCallback>,
    chunk_extension: [Option<DataCallback>; 2],
    headers_complete: Option<Callback>,
    body: Option<DataCallback>,
    message_complete: Option<Callback>,
    others: [Option<Callback>; 12],
}

const HTTP_REQUEST: c_int = 1;

/// The parser comes first, so that a pointer to it is one to all of this.
#[repr(C)]
struct State {
    parser: Parser,
    spans: [(*const c_char, usize); 256],
    count: usize,
    complete: bool,
}

extern "C" fn on_span(parser: *mut Parser, at: *const c_char, length: usize) -> c_int {
    let state: *mut State = parser.cast();
    // SAFETY: llhttp hands back the parser that it was given, which is the first member of a State
    // that nobody else refers to during the call.
    let state = unsafe { &mut *state };
    let Some(place) = state.spans.get_mut(state.count) else {
        return -1;
    };
    *place = (at, length);
    state.count += 1;
    0
}

extern "C" fn on_complete(parser: *mut Parser) -> c_int {
    let state: *mut State = parser.cast();
    // SAFETY: as in `on_span`.
    unsafe { (*state).complete = true };
    0
}

type Init = unsafe extern "C" fn(*mut Parser, c_int, *const Settings);
type Execute = unsafe extern "C" fn(*mut Parser, *const c_char, usize) -> c_int;

#[derive(Clone, Copy)]
pub struct Library {
    init: Init,
    execute: Execute,
}

impl Library {
    /// Panics if `path` is not a shared library with llhttp in it.
    pub fn open(path: &str) -> Self {
        let name = CString::new(path).unwrap();
        // SAFETY: the name is a C string. The library is never closed. It runs no code of its own
        // when it is loaded.
        let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW) };
        assert!(!handle.is_null(), "{path}: not a shared library");
        // SAFETY: both have had these types in every 9.x.
        unsafe {
            Self {
                init: std::mem::transmute::<*mut c_void, Init>(symbol(handle, c"llhttp_init")),
                execute: std::mem::transmute::<*mut c_void, Execute>(symbol(
                    handle,
                    c"llhttp_execute",
                )),
            }
        }
    }

    /// Parses `head` and stores the spans of its target, names and values.
    pub fn parser(self, head: &'static [u8]) -> impl FnMut() {
        let settings = Settings {
            url: Some(on_span),
            header_field: Some(on_span),
            header_value: Some(on_span),
            headers_complete: Some(on_complete),
            ..Settings::default()
        };
        let mut state = Box::new(State {
            parser: Parser([0; 256]),
            spans: [(ptr::null(), 0); 256],
            count: 0,
            complete: false,
        });
        let lines = head.iter().filter(|octet| **octet == b'\n').count();
        move || {
            let input = black_box(head);
            (state.count, state.complete) = (0, false);
            let parser: *mut Parser = ptr::from_mut(&mut *state).cast();
            // SAFETY: parser and settings outlive the calls, and the input comes with its length.
            let error = unsafe {
                (self.init)(parser, HTTP_REQUEST, &raw const settings);
                (self.execute)(parser, input.as_ptr().cast(), input.len())
            };
            // A target, and a name and a value per field: settings of another layout fail here.
            assert!(error == 0 && state.complete && state.count == 2 * (lines - 2) + 1);
            black_box(&state.spans);
        }
    }
}

/// # Safety
/// `handle` is that of an open library.
unsafe fn symbol(handle: *mut c_void, name: &CStr) -> *mut c_void {
    // SAFETY: the handle is open, as the caller promises, and the name is a C string.
    let address = unsafe { libc::dlsym(handle, name.as_ptr()) };
    assert!(!address.is_null(), "{name:?} is not in the library");
    address
}
