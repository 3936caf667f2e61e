//! Bytes on their way in one direction of one connection.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::tcp::{ReadHalf, WriteHalf},
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until},
};

use crate::{Cut, Direction, Faults, proxy::Network, trigger::Window};

const PIECE: usize = 16 * 1024;
/// How many pieces may be on their way. More wait in the sender's own buffers, as they do on a real line.
const PIECES: usize = 256;

/// Set when the next bytes that go one way are to be lost with the connection.
#[derive(Debug, Default)]
pub(crate) struct Doom {
    to_server: AtomicBool,
    from_server: AtomicBool,
}

impl Doom {
    fn of(&self, direction: Direction) -> &AtomicBool {
        match direction {
            Direction::ToServer => &self.to_server,
            Direction::FromServer => &self.from_server,
        }
    }
}

pub(crate) struct Pump {
    pub(crate) direction: Direction,
    pub(crate) network: Arc<Network>,
    pub(crate) faults: watch::Receiver<Faults>,
}

impl Pump {
    /// Moves bytes until the sender has no more to say, and says so to the receiver. An error of the kind "connection reset" means that the
    /// other side of the connection is to be reset too.
    pub(crate) async fn run(
        self,
        mut from: ReadHalf<'_>,
        mut to: WriteHalf<'_>,
        doom: &Doom,
    ) -> io::Result<()> {
        let (sender, receiver) = mpsc::channel(PIECES);
        let mut closed = self.network.half_closes(self.direction);
        let moving = async {
            let writing = write(&mut to, receiver, self.faults.clone());
            tokio::try_join!(self.read(&mut from, sender, doom), writing).map(drop)
        };
        tokio::select! {
            biased;
            _ = closed.changed() => {}
            moved = moving => moved?,
        }
        to.shutdown().await
    }

    async fn read(
        &self,
        from: &mut ReadHalf<'_>,
        sender: mpsc::Sender<(Instant, Vec<u8>)>,
        doom: &Doom,
    ) -> io::Result<()> {
        let mut windows = Vec::new();
        loop {
            let mut piece = Vec::with_capacity(PIECE);
            if from.read_buf(&mut piece).await? == 0 {
                return Ok(());
            }
            if doom.of(self.direction).load(Ordering::Relaxed) {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            let is_doomed = doom.of(self.direction.opposite()).load(Ordering::Relaxed);
            match self.sight(&mut windows, &piece, is_doomed) {
                None => {}
                Some(Cut::Before) => return Err(io::ErrorKind::ConnectionReset.into()),
                Some(Cut::InsteadOfAnswer) => {
                    doom.of(self.direction.opposite()).store(true, Ordering::Relaxed);
                }
            }
            self.network.passed(self.direction, piece.len());
            let due = Instant::now() + self.faults.borrow().delay(self.direction);
            if sender.send((due, piece)).await.is_err() {
                return Ok(());
            }
        }
    }

    /// What a trigger wants because of these bytes.
    fn sight(&self, windows: &mut Vec<Window>, piece: &[u8], is_doomed: bool) -> Option<Cut> {
        let mut triggers = self.network.triggers();
        windows.resize_with(triggers.len(), Window::default);
        let mut wanted = None;
        for (armed, window) in triggers.iter_mut().zip(windows) {
            if armed.trigger.direction != self.direction {
                continue;
            }
            for _ in 0..window.sights(&armed.trigger.pattern, piece) {
                // A connection ends once, whatever else is in the piece.
                if armed.fires(is_doomed || wanted.is_some()) {
                    wanted = Some(armed.trigger.cut);
                }
            }
        }
        wanted
    }
}

async fn write(
    to: &mut WriteHalf<'_>,
    mut receiver: mpsc::Receiver<(Instant, Vec<u8>)>,
    mut faults: watch::Receiver<Faults>,
) -> io::Result<()> {
    while let Some((due, piece)) = receiver.recv().await {
        sleep_until(due).await;
        // The proxy lives as long as its connections.
        let _ = faults.wait_for(|faults| !faults.held).await;
        let rate = faults.borrow().bytes_per_second;
        if rate == 0 {
            to.write_all(&piece).await?;
            continue;
        }
        // Ten times a second, so that what is slow does not come in lumps. A part arrives when its last byte has passed.
        let size = usize::try_from(rate / 10).unwrap_or(PIECE).clamp(1, PIECE);
        for part in piece.chunks(size) {
            sleep(passing(part.len(), rate)).await;
            to.write_all(part).await?;
        }
    }
    Ok(())
}

/// How long so many bytes take.
fn passing(bytes: usize, bytes_per_second: u64) -> Duration {
    let nanoseconds = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(1_000_000_000);
    Duration::from_nanos(nanoseconds.checked_div(bytes_per_second).unwrap_or(0))
}
