//! Connections of which not more than some bytes are read.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, join, split};

/// Bytes that are read of a connection of a check: of whatever a server sends before what the check asks for, such as
/// responses with a status of 1xx, there is no end.
const MAX: u64 = 256 << 10;

/// The connection, which ends after [`MAX`] bytes.
pub(super) fn bounded<S>(stream: S) -> impl AsyncRead + AsyncWrite + Unpin + Send + 'static
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (reader, writer) = split(stream);
    join(reader.take(MAX), writer)
}
