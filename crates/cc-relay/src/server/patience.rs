//! Connections whose other end does not read.

use std::{
    future::Future as _,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};

/// Bytes for which a slow client has a second, beyond the time that each has.
pub(super) const BYTES_PER_SECOND: usize = 16 << 10;

/// A stream of which a write fails that makes no progress for some time, or less than
/// [`BYTES_PER_SECOND`], so that a client that does not read its answer holds no memory.
#[derive(Debug)]
pub(super) struct Patient<S> {
    stream: S,
    patience: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    pub(super) const fn new(stream: S, patience: Duration) -> Self {
        Self { stream, patience, waiting: None }
    }

    /// Some bytes of what waits: they give time for others, but not more than there was at first.
    fn written(
        &mut self,
        progress: Poll<io::Result<usize>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let Poll::Ready(Ok(count)) = progress else { return self.limit(progress, context) };
        if let Some(waiting) = &mut self.waiting {
            let bytes = u32::try_from(count).unwrap_or(u32::MAX);
            let rate = u32::try_from(BYTES_PER_SECOND).unwrap_or(u32::MAX);
            let earned = waiting.deadline() + Duration::from_secs(1) * bytes / rate;
            waiting.as_mut().reset(earned.min(Instant::now() + self.patience));
        }
        progress
    }

    /// All of it, where it is done.
    fn limit<T>(
        &mut self,
        progress: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if progress.is_ready() {
            self.waiting = None;
            return progress;
        }
        let patience = self.patience;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(patience)));
        match waiting.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let progress = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.written(progress, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let progress = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.written(progress, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let progress = Pin::new(&mut self.stream).poll_flush(context);
        self.limit(progress, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let progress = Pin::new(&mut self.stream).poll_shutdown(context);
        self.limit(progress, context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _, duplex},
        time::timeout,
    };

    use super::*;

    #[tokio::test]
    async fn who_reads_a_byte_now_and_then_is_let_go() {
        let (mut reader, writer) = duplex(64);
        let mut writer = Patient::new(writer, Duration::from_millis(200));
        let slow = tokio::spawn(async move {
            while reader.read_u8().await.is_ok() {
                sleep(Duration::from_millis(20)).await;
            }
        });
        let written = timeout(Duration::from_secs(10), writer.write_all(&[7; 10_000])).await;
        assert_eq!(written.unwrap().unwrap_err().kind(), io::ErrorKind::TimedOut);
        slow.abort();
    }

    #[tokio::test]
    async fn who_reads_all_is_waited_for_again() {
        let (mut reader, writer) = duplex(64);
        let mut writer = Patient::new(writer, Duration::from_secs(5));
        for _ in 0..3 {
            let read = async {
                let mut bytes = [0; 1000];
                reader.read_exact(&mut bytes).await.unwrap();
            };
            let write = async {
                writer.write_all(&[7; 1000]).await.unwrap();
                writer.flush().await.unwrap();
            };
            tokio::join!(write, read);
            assert!(writer.waiting.is_none());
        }
    }
}
