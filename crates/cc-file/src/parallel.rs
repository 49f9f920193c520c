//! Copies with the chunks in parallel.
//!
//! The calling thread reads and writes, others do the arithmetic. A batch of chunks goes to whichever
//! thread is free, and batches are written in the order in which they were read. Memory is bounded: with
//! `n` threads there are `2 n` batches under way, of 512 KiB each.

use std::{
    cell::RefCell,
    collections::VecDeque,
    io::{Read, Write},
    num::NonZeroUsize,
    sync::{
        Mutex,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

use cc_aes_layer::{
    CHUNK_LEN, CHUNK_TAG_LEN, ChunkOpener, ChunkSeal, ChunkSealer, SEALED_CHUNK_LEN,
};
use zeroize::Zeroizing;

use crate::{FileError, chunk_io::Lookahead, reader::open_or_incomplete};

pub(crate) fn encrypt(
    sealer: ChunkSealer,
    reader: impl Read,
    mut writer: impl Write,
    threads: NonZeroUsize,
) -> Result<u64, FileError> {
    let mut reader = Lookahead::new(reader);
    let mut sealer = Some(sealer);
    let pool = Pool::default();
    let mut len = 0u64;
    let next = || {
        let Some(mut places) = sealer.take() else { return Ok(None) };
        let mut batch = pool.take();
        let mut chunks = Vec::with_capacity(BATCH_CHUNKS);
        let mut last = false;
        for slot in batch.chunks_mut(SEALED_CHUNK_LEN) {
            let room = slot.get_mut(..CHUNK_LEN).ok_or(FileError::Internal("a batch"))?;
            let filled = reader.fill(room)?;
            len = len.saturating_add(filled as u64);
            last = reader.at_end()?;
            if last {
                chunks.push((filled, None));
                break;
            }
            chunks.push((filled, Some(places.next_chunk()?)));
        }
        if last {
            let place = places.last_chunk();
            if let Some(chunk) = chunks.last_mut() {
                chunk.1 = Some(place);
            }
        } else {
            sealer = Some(places);
        }
        Ok(Some(Job { input: (batch, chunks), last }))
    };
    let work = |(mut batch, chunks): (Batch, Vec<(usize, Option<ChunkSeal>)>)| {
        let mut end = 0;
        for (slot, (filled, place)) in batch.chunks_mut(SEALED_CHUNK_LEN).zip(chunks) {
            let sealed = slot.get_mut(..filled + CHUNK_TAG_LEN);
            let (Some(sealed), Some(place)) = (sealed, place) else {
                return Err(FileError::Internal("a batch"));
            };
            place.seal(sealed)?;
            end += sealed.len();
        }
        Ok((batch, end))
    };
    let sink = |result: Result<(Batch, usize), FileError>| {
        let (batch, end) = result?;
        writer.write_all(batch.get(..end).unwrap_or_default())?;
        pool.give(batch);
        Ok(())
    };
    in_order(threads, next, work, sink)?;
    Ok(len)
}

pub(crate) fn decrypt(
    opener: ChunkOpener,
    reader: impl Read,
    mut writer: impl Write,
    threads: NonZeroUsize,
) -> Result<u64, FileError> {
    let mut reader = Lookahead::new(reader);
    let mut position = Some(0u32);
    let mut ended = false;
    let pool = Pool::default();
    let mut len = 0u64;
    let next = || {
        if ended {
            return Ok(None);
        }
        let mut batch = pool.take();
        let filled = reader.fill(&mut batch)?;
        let last = reader.at_end()?;
        ended = last;
        let first = position.ok_or(FileError::TooLong)?;
        position = first.checked_add(BATCH);
        Ok(Some(Job { input: (batch, filled, first, last), last }))
    };
    let work = |(mut batch, filled, first, last): (Batch, usize, u32, bool)| {
        let mut opened = Vec::with_capacity(BATCH_CHUNKS);
        let sealed = batch.get_mut(..filled).unwrap_or_default();
        // Empty only where the whole stream is, which is then refused as incomplete.
        let count = filled.div_ceil(SEALED_CHUNK_LEN).max(1);
        let mut chunks = sealed.chunks_mut(SEALED_CHUNK_LEN);
        let mut error = None;
        let mut spare = Vec::new();
        for (number, position) in (1..=count).zip(first..=u32::MAX) {
            let chunk = chunks.next().unwrap_or_default();
            let last = last && number == count;
            match open_or_incomplete(&opener, position, last, chunk, &mut spare) {
                Ok(plaintext) => opened.push(plaintext.len()),
                Err(failed) => {
                    error = Some(failed);
                    break;
                }
            }
        }
        (batch, opened, error)
    };
    let sink = |(batch, opened, error): (Batch, Vec<usize>, Option<FileError>)| {
        for (chunk, opened) in batch.chunks(SEALED_CHUNK_LEN).zip(opened) {
            writer.write_all(chunk.get(..opened).unwrap_or_default())?;
            len = len.saturating_add(opened as u64);
        }
        pool.give(batch);
        error.map_or(Ok(()), Err)
    };
    in_order(threads, next, work, sink)?;
    Ok(len)
}

struct Job<I> {
    input: I,
    last: bool,
}

/// Gives what `next` makes to `work` on other threads, and the results to `sink` in the order of `next`.
/// A single job is done here, without any thread.
fn in_order<I: Send, O: Send>(
    threads: NonZeroUsize,
    mut next: impl FnMut() -> Result<Option<Job<I>>, FileError>,
    work: impl Fn(I) -> O + Sync,
    mut sink: impl FnMut(O) -> Result<(), FileError>,
) -> Result<(), FileError> {
    let threads = threads.get().min(MAX_THREADS);
    let Some(first) = next()? else { return Ok(()) };
    if first.last || threads == 1 {
        sink(work(first.input))?;
        while let Some(job) = next()? {
            sink(work(job.input))?;
        }
        return Ok(());
    }
    type Waiting<I, O> = (I, SyncSender<O>);
    let (jobs, queue) = sync_channel::<Waiting<I, O>>(2 * threads);
    let queue: Mutex<Receiver<Waiting<I, O>>> = Mutex::new(queue);
    thread::scope(|scope| {
        // Dropped when this closure ends, by which the threads end: before the scope waits for them.
        let jobs = jobs;
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let received = match queue.lock() {
                        Ok(queue) => queue.recv(),
                        Err(_) => return,
                    };
                    let Ok((input, result)) = received else { return };
                    // Nobody waits for the result any more after an error.
                    let _ = result.send(work(input));
                }
            });
        }
        let mut under_way = VecDeque::with_capacity(2 * threads);
        let mut upcoming = Some(first);
        loop {
            while under_way.len() < 2 * threads
                && let Some(job) = upcoming.take()
            {
                let (result, receiver) = sync_channel(1);
                jobs.send((job.input, result)).map_err(|_| FileError::Internal("a thread"))?;
                under_way.push_back(receiver);
                // What is authentic is written before an error of the reader is told.
                match next() {
                    Ok(job) => upcoming = job,
                    Err(error) => {
                        for receiver in under_way {
                            sink(receiver.recv().map_err(|_| FileError::Internal("a thread"))?)?;
                        }
                        return Err(error);
                    }
                }
            }
            let Some(receiver) = under_way.pop_front() else { return Ok(()) };
            sink(receiver.recv().map_err(|_| FileError::Internal("a thread"))?)?;
        }
    })
}

type Batch = Zeroizing<Vec<u8>>;

/// Batches that are not under way.
#[derive(Default)]
struct Pool(RefCell<Vec<Batch>>);

impl Pool {
    fn take(&self) -> Batch {
        let kept = self.0.borrow_mut().pop();
        kept.unwrap_or_else(|| Zeroizing::new(vec![0; BATCH_CHUNKS * SEALED_CHUNK_LEN]))
    }

    fn give(&self, batch: Batch) {
        self.0.borrow_mut().push(batch);
    }
}

/// Chunks in a batch: enough that handing it over costs nothing beside the arithmetic.
const BATCH_CHUNKS: usize = BATCH as usize;
const BATCH: u32 = 8;
/// More threads than this would wait for the one that reads and writes.
const MAX_THREADS: usize = 16;
