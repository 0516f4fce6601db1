//! How a connection's bytes travel: as they are, or under TLS. An enum rather than a trait object, so that clear text
//! pays one comparison per call to the kernel.

use pyo3::exceptions::PyValueError;
use pyo3::{Py, PyResult};

use crate::config::Protocol;
use crate::tls::{Handshake, Session, TlsConfig};

pub(crate) enum Transport {
    Clear,
    /// TLS that is being agreed on.
    Handshake(Box<Handshake>),
    Tls(Box<Session>),
}

/// What is spoken on one listener.
pub(crate) struct Spoken {
    pub protocol: Protocol,
    pub tls: Option<Py<TlsConfig>>,
}

impl Spoken {
    /// What Python says of its listeners; an empty list says the same of all: the setting, and clear text.
    pub(crate) fn of(
        listeners: usize,
        setting: Protocol,
        protocols: &[String],
        tls: Vec<Option<Py<TlsConfig>>>,
    ) -> PyResult<Vec<Spoken>> {
        for (name, given) in [("protocols", protocols.len()), ("tls", tls.len())] {
            if given != 0 && given != listeners {
                return Err(PyValueError::new_err(format!(
                    "{name}: {given} for {listeners} listeners"
                )));
            }
        }
        let mut tls = tls.into_iter();
        (0..listeners)
            .map(|index| {
                let protocol = match protocols.get(index) {
                    None => setting,
                    Some(name) => Protocol::named(name).ok_or_else(|| {
                        PyValueError::new_err(format!("protocols: {name} is not auto, 1 or 2"))
                    })?,
                };
                Ok(Spoken {
                    protocol,
                    tls: tls.next().flatten(),
                })
            })
            .collect()
    }

    /// How a new connection begins.
    pub(crate) fn transport(&self) -> Transport {
        match &self.tls {
            None => Transport::Clear,
            Some(config) => Transport::Handshake(Box::new(Handshake::new(config.get().current()))),
        }
    }
}
