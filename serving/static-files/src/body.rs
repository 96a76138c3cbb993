// SPDX-License-Identifier: Apache-2.0
//! The body of a served file.

use std::collections::VecDeque;
use std::fs::File;
use std::future::Future;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::task::{JoinHandle, spawn_blocking};

/// Bytes of a file, read as the client takes them: at most 128 KiB are held. A file that is
/// cut short meanwhile is an error, so that the connection is aborted: a short body must never look like
/// a whole one. Bodies of large files read on tokio's blocking threads and need its runtime.
#[derive(Debug, Default)]
pub struct FileBody {
    pieces: VecDeque<Piece>,
    remaining: u64,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
}

/// A stretch of the body.
#[derive(Debug)]
pub(crate) enum Piece {
    Ready(Bytes),
    InFile(Arc<File>, Range<u64>),
}

impl FileBody {
    /// A body of no bytes, for answers to HEAD and errors.
    pub fn empty() -> Self {
        Self::default()
    }

    /// A body of `pieces`, one after the other. When together they are at most [`INLINE_BYTES_MAX`] they
    /// are read here and now: such a read is one copy out of the page cache, far less than the hand-over
    /// to a blocking thread and back would cost, and the file is closed before the client is waited for.
    pub(crate) fn new(pieces: impl IntoIterator<Item = Piece>) -> io::Result<Self> {
        let pieces: VecDeque<Piece> = pieces.into_iter().filter(|piece| piece.len() > 0).collect();
        let remaining = pieces.iter().map(Piece::len).sum();
        let pieces = if remaining <= INLINE_BYTES_MAX {
            pieces.into_iter().map(Piece::read).collect::<io::Result<_>>()?
        } else {
            pieces
        };
        Ok(Self { pieces, remaining, reading: None })
    }

    /// Takes the next chunk off the front: ready bytes, or a read that has been started for it.
    fn next_chunk(&mut self) -> Option<Next> {
        match self.pieces.pop_front()? {
            Piece::Ready(bytes) => Some(Next::Ready(bytes)),
            Piece::InFile(file, range) => {
                let chunk = range.start..range.end.min(range.start.saturating_add(CHUNK_BYTES));
                if chunk.end < range.end {
                    self.pieces.push_front(Piece::InFile(Arc::clone(&file), chunk.end..range.end));
                }
                Some(Next::Reading(spawn_blocking(move || read_range(&file, &chunk))))
            }
        }
    }

    fn deliver(&mut self, outcome: io::Result<Bytes>) -> Option<io::Result<Frame<Bytes>>> {
        match outcome {
            Ok(bytes) => {
                self.remaining = self.remaining.saturating_sub(len_u64(&bytes));
                Some(Ok(Frame::data(bytes)))
            }
            Err(error) => {
                *self = Self::empty();
                Some(Err(error))
            }
        }
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        loop {
            if let Some(reading) = &mut self.reading {
                let outcome = ready!(Pin::new(reading).poll(context));
                self.reading = None;
                let outcome = outcome.unwrap_or_else(|lost| Err(io::Error::other(lost)));
                return Poll::Ready(self.deliver(outcome));
            }
            match self.next_chunk() {
                None => return Poll::Ready(None),
                Some(Next::Ready(bytes)) => return Poll::Ready(self.deliver(Ok(bytes))),
                Some(Next::Reading(reading)) => self.reading = Some(reading),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty() && self.reading.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining)
    }
}

enum Next {
    Ready(Bytes),
    Reading(JoinHandle<io::Result<Bytes>>),
}

impl Piece {
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Ready(bytes) => len_u64(bytes),
            Self::InFile(_, range) => range.end.saturating_sub(range.start),
        }
    }

    fn read(self) -> io::Result<Self> {
        match self {
            Self::Ready(bytes) => Ok(Self::Ready(bytes)),
            Self::InFile(file, range) => read_range(&file, &range).map(Self::Ready),
        }
    }
}

/// All of `range`, or an error: `UnexpectedEof` when the file no longer reaches that far. Positioned
/// reads, since the parts of one file share a descriptor.
fn read_range(file: &File, range: &Range<u64>) -> io::Result<Bytes> {
    let len = usize::try_from(range.end.saturating_sub(range.start)).map_err(io::Error::other)?;
    let mut buffer = vec![0; len];
    file.read_exact_at(&mut buffer, range.start)?;
    Ok(buffer.into())
}

fn len_u64(bytes: &Bytes) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// Bodies up to this size are read in one go when the response is made.
const INLINE_BYTES_MAX: u64 = 64 * 1024;

/// Bytes of one read of a larger file, and of one frame: the memory that a slow client holds.
const CHUNK_BYTES: u64 = 128 * 1024;

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;
    use crate::testing::TempDir;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().build().unwrap()
    }

    fn pattern(len: usize) -> Vec<u8> {
        (0..len).map(|index| u8::try_from(index % 251).unwrap()).collect()
    }

    async fn read_all(mut body: FileBody) -> io::Result<Vec<u8>> {
        let mut read = Vec::new();
        while let Some(frame) = body.frame().await {
            read.extend_from_slice(&frame?.into_data().unwrap());
            assert_eq!(body.is_end_stream(), body.size_hint().exact() == Some(0));
        }
        Ok(read)
    }

    #[test]
    fn bodies_of_all_sizes_are_whole() {
        let directory = TempDir::new();
        for len in [0, 1, 64 * 1024, 64 * 1024 + 1, 128 * 1024, 300_000] {
            let content = pattern(len);
            directory.write("file", &content);
            let file = Arc::new(File::open(directory.path("file")).unwrap());
            let end = u64::try_from(len).unwrap();
            let body = FileBody::new([Piece::InFile(file, 0..end)]).unwrap();
            assert_eq!(body.size_hint().exact(), Some(end));
            assert_eq!(runtime().block_on(read_all(body)).unwrap(), content, "{len}");
        }
    }

    #[test]
    fn pieces_follow_each_other() {
        let directory = TempDir::new();
        let content = pattern(400_000);
        directory.write("file", &content);
        let file = Arc::new(File::open(directory.path("file")).unwrap());
        let body = FileBody::new([
            Piece::Ready(Bytes::from_static(b"<")),
            Piece::InFile(Arc::clone(&file), 100..200_000),
            Piece::Ready(Bytes::from_static(b"|")),
            Piece::InFile(file, 5..7),
        ])
        .unwrap();
        let want = [b"<", &content[100..200_000], b"|", &content[5..7]].concat();
        assert_eq!(runtime().block_on(read_all(body)).unwrap(), want);
    }

    #[test]
    fn a_file_cut_short_is_an_error_and_then_the_end() {
        let directory = TempDir::new();
        directory.write("file", &pattern(300_000));
        let file = File::options().read(true).write(true).open(directory.path("file")).unwrap();
        let file = Arc::new(file);
        let mut body = FileBody::new([Piece::InFile(Arc::clone(&file), 0..300_000)]).unwrap();
        file.set_len(140_000).unwrap();
        runtime().block_on(async {
            assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap().len(), 128 * 1024);
            let error = body.frame().await.unwrap().unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
            assert!(body.frame().await.is_none());
        });
        assert!(FileBody::new([Piece::InFile(file, 139_999..140_001)]).is_err());
    }

    #[test]
    fn the_body_may_travel() {
        fn travels<T: Send + Unpin>() {}
        travels::<FileBody>();
    }
}
