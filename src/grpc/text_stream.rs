//! Splits a long text into response messages.

use futures_util::{Stream, stream};

use crate::model::{Error, Reason};

/// Minimum length of a part in bytes, except of the last one.
const PART: usize = 256 << 10;

/// A text in parts of whole lines.
pub(super) fn parts(text: Vec<u8>) -> Result<impl Stream<Item = String>, Error> {
    let text =
        String::from_utf8(text).map_err(|error| Error::new(Reason::Internal, error.to_string()))?;
    Ok(stream::unfold(text, |mut rest| async move {
        if rest.is_empty() {
            return None;
        }
        let end = rest.as_bytes().iter().skip(PART).position(|b| *b == b'\n');
        let next = match end {
            Some(end) => rest.split_off(PART + end + 1),
            None => String::new(),
        };
        Some((rest, next))
    }))
}
