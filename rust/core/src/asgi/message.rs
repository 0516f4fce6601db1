//! Messages that an application sends, read in one pass over the dict: a lookup per possible key costs more than all
//! the keys there are. Knows the names of keys and the shapes of values, not what the messages do.

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyDict, PyList, PyString, PyTuple};

type Value<'py> = Option<Bound<'py, PyAny>>;

/// The keys that nearly every message is made of, as interned strings.
pub(super) struct Keys([Py<PyString>; 5]);

impl Keys {
    pub(super) fn new(py: Python<'_>) -> Keys {
        let keys = ["type", "body", "status", "headers", "more_body"];
        Keys(keys.map(|key| PyString::intern(py, key).unbind()))
    }
}

/// The values of the keys that HTTP messages may have (ASGI HTTP spec 2.5 and its extensions); others are ignored.
pub(super) struct Message<'a, 'py> {
    dict: &'a Bound<'py, PyDict>,
    pub kind: Value<'py>,
    pub body: Value<'py>,
    pub status: Value<'py>,
    pub headers: Value<'py>,
    pub more_body: Value<'py>,
    /// There are further keys.
    has_others: bool,
}

impl<'a, 'py> Message<'a, 'py> {
    /// Keys written as literals are interned: comparing addresses finds them. If one is not, all are looked up.
    #[inline(always)]
    pub(super) fn read(keys: &Keys, message: &'a Bound<'py, PyAny>) -> PyResult<Message<'a, 'py>> {
        let py = message.py();
        let dict = message
            .cast::<PyDict>()
            .map_err(|_| PyTypeError::new_err("an ASGI message is a dict with the key `type`"))?;
        let mut read = Message {
            dict,
            kind: None,
            body: None,
            status: None,
            headers: None,
            more_body: None,
            has_others: false,
        };
        let mut position = 0;
        let (mut key, mut value) = (std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: a dict, the GIL is held, and the places are this function's own. Nothing in the loop runs Python
        // code, so the dict stays as it is until the end.
        while unsafe { ffi::PyDict_Next(dict.as_ptr(), &mut position, &mut key, &mut value) } != 0 {
            let [kind, body, status, headers, more_body] = &keys.0;
            let place = if key == kind.as_ptr() {
                &mut read.kind
            } else if key == body.as_ptr() {
                &mut read.body
            } else if key == status.as_ptr() {
                &mut read.status
            } else if key == headers.as_ptr() {
                &mut read.headers
            } else if key == more_body.as_ptr() {
                &mut read.more_body
            } else {
                read.has_others = true;
                continue;
            };
            // SAFETY: a live object that the dict holds.
            *place = Some(unsafe { Bound::from_borrowed_ptr(py, value) });
        }
        if read.has_others {
            read.look_up(keys)?;
        }
        Ok(read)
    }

    /// Finds what has a key that is equal, but not the interned string itself.
    #[cold]
    fn look_up(&mut self, keys: &Keys) -> PyResult<()> {
        let places = [
            &mut self.kind,
            &mut self.body,
            &mut self.status,
            &mut self.headers,
            &mut self.more_body,
        ];
        for (key, place) in keys.0.iter().zip(places) {
            if place.is_none() {
                *place = self.dict.get_item(key)?;
            }
        }
        Ok(())
    }

    /// The value of a key that few messages have.
    pub(super) fn other(&self, key: &Bound<'py, PyString>) -> PyResult<Value<'py>> {
        if self.has_others {
            self.dict.get_item(key)
        } else {
            Ok(None)
        }
    }
}

/// The value of a key that the message must have.
pub(super) fn needed<'a, 'py>(
    value: &'a Value<'py>,
    key: &str,
    what: &str,
) -> PyResult<&'a Bound<'py, PyAny>> {
    value
        .as_ref()
        .ok_or_else(|| PyTypeError::new_err(format!("{what} needs the key `{key}`")))
}

/// A flag; absent is false.
pub(super) fn flag(value: &Value<'_>) -> PyResult<bool> {
    value.as_ref().map_or(Ok(false), |value| value.is_truthy())
}

/// A count of bytes; absent and None are None.
pub(super) fn size(value: &Value<'_>, key: &str) -> PyResult<Option<u64>> {
    match value {
        Some(value) if !value.is_none() => value
            .extract()
            .map(Some)
            .map_err(|_| PyTypeError::new_err(format!("`{key}` is a whole number of bytes"))),
        _ => Ok(None),
    }
}

/// Calls `act` with the bytes of a bytes-like object; absent counts as empty.
pub(super) fn with_bytes<R>(
    object: Option<&Bound<'_, PyAny>>,
    act: impl FnOnce(&[u8]) -> PyResult<R>,
) -> PyResult<R> {
    let Some(object) = object else {
        return act(b"");
    };
    if let Ok(bytes) = object.cast::<PyBytes>() {
        return act(bytes.as_bytes());
    }
    if let Ok(array) = object.cast::<PyByteArray>() {
        // Copied: the application may change it while the core writes.
        return act(&array.to_vec());
    }
    match PyBuffer::<u8>::get(object) {
        Ok(buffer) => act(&buffer.to_vec(object.py())?),
        Err(_) => {
            let name = object.get_type().name()?;
            Err(PyTypeError::new_err(format!(
                "a body, header name or header value is bytes, not {name}"
            )))
        }
    }
}

/// The headers that a head was made of. Given again, the same tuples make the same head: neither tuples nor bytes ever
/// change, and while they are held here no others can have their addresses.
#[derive(Default)]
pub(super) struct Fields(Vec<Py<PyTuple>>);

impl Fields {
    /// Whether `headers` is a list of these very tuples.
    pub(super) fn are(&self, headers: &Bound<'_, PyAny>) -> bool {
        let Ok(list) = headers.cast_exact::<PyList>() else {
            return false;
        };
        !self.0.is_empty()
            && list.len() == self.0.len()
            && self.0.iter().zip(0..).all(|(field, index)| {
                // SAFETY: a list, the index is below its length, and nothing here runs Python code.
                unsafe { ffi::PyList_GET_ITEM(list.as_ptr(), index) == field.as_ptr() }
            })
    }

    /// Those of a list of tuples of two bytes; any other shape is nothing to remember.
    pub(super) fn of(headers: &Bound<'_, PyAny>) -> Option<Fields> {
        let list = headers.cast_exact::<PyList>().ok()?;
        let fields = list.iter().map(|field| {
            let pair = field.cast_into_exact::<PyTuple>().ok()?;
            (pair.len() == 2
                && pair
                    .iter_borrowed()
                    .all(|part| part.is_exact_instance_of::<PyBytes>()))
            .then(|| pair.unbind())
        });
        fields.collect::<Option<Vec<_>>>().map(Fields)
    }

    /// Calls `act` with name and value of each.
    pub(super) fn each(
        &self,
        py: Python<'_>,
        mut act: impl FnMut(&[u8], &[u8]) -> PyResult<()>,
    ) -> PyResult<()> {
        self.0
            .iter()
            .try_for_each(|field| with_field(field.bind(py), &mut act))
    }
}

/// Calls `act` with name and value of every header of a list, a tuple or any other iterable.
pub(super) fn each_field(
    headers: &Bound<'_, PyAny>,
    mut act: impl FnMut(&[u8], &[u8]) -> PyResult<()>,
) -> PyResult<()> {
    if let Ok(list) = headers.cast_exact::<PyList>() {
        let mut index = 0;
        while index < list.len() {
            // SAFETY: the index is below the length, which is read anew each time.
            let field = unsafe { list.get_item_unchecked(index) };
            with_field(&field, &mut act)?;
            index += 1;
        }
        return Ok(());
    }
    for field in headers.try_iter()? {
        with_field(&field?, &mut act)?;
    }
    Ok(())
}

/// One header: a pair of bytes in a tuple, a list or any other iterable.
fn with_field(
    field: &Bound<'_, PyAny>,
    act: &mut impl FnMut(&[u8], &[u8]) -> PyResult<()>,
) -> PyResult<()> {
    let (name, value) = if let Ok(pair) = field.cast::<PyTuple>()
        && pair.len() == 2
    {
        // SAFETY: two items; a tuple never changes.
        let (name, value) = unsafe {
            (
                pair.get_borrowed_item_unchecked(0),
                pair.get_borrowed_item_unchecked(1),
            )
        };
        if let (Ok(name), Ok(value)) = (name.cast::<PyBytes>(), value.cast::<PyBytes>()) {
            return act(name.as_bytes(), value.as_bytes());
        }
        (name.to_owned(), value.to_owned())
    } else {
        let mut items = field.try_iter()?;
        match (items.next(), items.next(), items.next()) {
            (Some(name), Some(value), None) => (name?, value?),
            _ => {
                return Err(PyTypeError::new_err(
                    "a header is a pair of name and value, both bytes",
                ));
            }
        }
    };
    with_bytes(Some(&name), |name| {
        with_bytes(Some(&value), |value| act(name, value))
    })
}
