//! What recent requests on this worker had in common, so that it is made once: scopes by target, `client` by address.
//! Direct-mapped tables of fixed size; a miss costs a comparison, a hit saves a handful of Python objects.

use std::cell::RefCell;
use std::net::SocketAddr;

use ferrule_http::request::{Request, Version};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};

use crate::gil::Guarded;

/// Entries of the tables: more than an application has hot paths, and busy connections, less than anyone would miss in
/// memory.
const TARGETS: usize = 256;
const CLIENTS: usize = 1024;
/// Longer targets are nobody's hot path.
const LONGEST_TARGET: usize = 128;

#[derive(Default)]
struct Target {
    /// What the entry was last asked for; a dict is kept from the second time on, so that unique targets cost nothing.
    hash: u64,
    listener: usize,
    key: Vec<u8>,
    scope: Option<Py<PyDict>>,
}

/// An address and the tuple that scopes show for it.
type Client = (SocketAddr, Py<PyTuple>);

pub(super) struct Cache {
    targets: Guarded<RefCell<Vec<Target>>>,
    clients: Guarded<RefCell<Vec<Option<Client>>>>,
}

/// The request line as it was received, which decides every part of the scope that is cached.
fn key(request: &Request) -> Option<&[u8]> {
    let end = request.target.offset.checked_add(request.target.len)? as usize;
    let line = request.block.bytes().get(..end)?;
    (request.version == Version::Http11 && line.len() <= LONGEST_TARGET && !line.is_empty())
        .then_some(line)
}

/// FNV-1a over words; only spreads entries, so nothing depends on its strength.
fn hash(bytes: &[u8]) -> u64 {
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let mut hash = 0xcbf2_9ce4_8422_2325u64 ^ bytes.len() as u64;
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        hash = (hash ^ u64::from_le_bytes(*word))
            .wrapping_mul(PRIME)
            .rotate_left(23);
    }
    for byte in rest {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(PRIME);
    }
    hash ^ hash >> 32
}

/// Where a scope that was just made may be kept.
pub(super) struct Place {
    index: usize,
    hash: u64,
}

pub(super) enum Found<'py> {
    /// A scope of the same target: copy it.
    Scope(Bound<'py, PyDict>),
    /// The target was asked for before: worth keeping.
    Keep(Place),
    Nothing,
}

impl Cache {
    pub(super) fn new() -> Cache {
        let mut targets = Vec::new();
        targets.resize_with(TARGETS, Target::default);
        let mut clients = Vec::new();
        clients.resize_with(CLIENTS, || None);
        Cache {
            targets: Guarded::new(RefCell::new(targets)),
            clients: Guarded::new(RefCell::new(clients)),
        }
    }

    pub(super) fn find<'py>(
        &self,
        py: Python<'py>,
        listener: usize,
        request: &Request,
    ) -> Found<'py> {
        let Some(key) = key(request) else {
            return Found::Nothing;
        };
        let hash = hash(key);
        let index = hash as usize % TARGETS;
        let mut targets = self.targets.get(py).borrow_mut();
        let Some(entry) = targets.get_mut(index) else {
            return Found::Nothing;
        };
        if entry.hash != hash {
            entry.hash = hash;
            return Found::Nothing;
        }
        match &entry.scope {
            Some(scope) if entry.key == key && entry.listener == listener => {
                Found::Scope(scope.bind(py).clone())
            }
            _ => Found::Keep(Place { index, hash }),
        }
    }

    pub(super) fn keep(
        &self,
        place: Place,
        listener: usize,
        request: &Request,
        scope: Bound<'_, PyDict>,
    ) {
        let Some(key) = key(request) else { return };
        let before = {
            let mut targets = self.targets.get(scope.py()).borrow_mut();
            let Some(entry) = targets.get_mut(place.index) else {
                return;
            };
            entry.hash = place.hash;
            entry.listener = listener;
            entry.key.clear();
            entry.key.extend_from_slice(key);
            entry.scope.replace(scope.unbind())
        };
        // Dropped after the borrow's end: freeing objects may run Python code.
        drop(before);
    }

    pub(super) fn client<'py>(
        &self,
        py: Python<'py>,
        address: &SocketAddr,
        host: impl FnOnce() -> Bound<'py, PyString>,
    ) -> PyResult<Bound<'py, PyTuple>> {
        // Rotated, because systems hand out every other port first.
        let index = usize::from(address.port().rotate_right(1)) % CLIENTS;
        let known = match self.clients.get(py).borrow().get(index) {
            Some(Some((known, client))) if known == address => return Ok(client.bind(py).clone()),
            // The same host most often: its name is.
            Some(Some((known, client))) if known.ip() == address.ip() => {
                Some(client.bind(py).clone())
            }
            _ => None,
        };
        let host = match known {
            Some(client) => client.get_item(0)?,
            None => host().into_any(),
        };
        let client = PyTuple::new(py, [host, address.port().into_pyobject(py)?.into_any()])?;
        let before = self
            .clients
            .get(py)
            .borrow_mut()
            .get_mut(index)
            .and_then(|entry| entry.replace((*address, client.clone().unbind())));
        drop(before);
        Ok(client)
    }
}
