//! Loopback ports that nobody else uses.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use parking_lot::Mutex;

use crate::{private_file, progress::Progress};

/// Below Linux's range for outgoing connections, above what people run.
const FIRST: u16 = 18_000;
const STRIDE: u16 = 100;
const TRIES: u16 = 100;
/// A stack that was killed a moment ago may still be letting go of its ports.
const PATIENCE: Duration = Duration::from_secs(3);

/// A port of 127.0.0.1 that is held for a daemon until it starts.
#[derive(Debug)]
pub(crate) struct Port {
    number: u16,
    held: Mutex<Option<TcpListener>>,
    /// The UDP port of the same number tells other stacks that this one is ours: a daemon listens seconds after it was started, and the
    /// port looks free until then.
    _claim: UdpSocket,
}

impl Port {
    fn hold(number: u16) -> std::io::Result<Self> {
        let claim = UdpSocket::bind((Ipv4Addr::LOCALHOST, number))?;
        let held = TcpListener::bind((Ipv4Addr::LOCALHOST, number))?;
        Ok(Self { number, held: Mutex::new(Some(held)), _claim: claim })
    }

    /// A random free one.
    pub(crate) fn random() -> anyhow::Result<Self> {
        for _ in 0..1000 {
            let [high, low] = clock::random_bytes(&mut clock::secure_rng());
            let number = 20_000 + u16::from_be_bytes([high, low]) % 12_000;
            if let Ok(port) = Self::hold(number) {
                return Ok(port);
            }
        }
        bail!("there is no free port between 20000 and 32000")
    }

    pub(crate) fn number(&self) -> u16 {
        self.number
    }

    /// Lets go of the port, so that its daemon can have it.
    pub(crate) fn release(&self) {
        self.held.lock().take();
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.number).into()
    }
}

/// The ports of a checkout's stack, by name: as in the file, moved where somebody else has taken one since.
#[derive(Debug)]
pub(crate) struct Ports(BTreeMap<String, Port>);

impl Ports {
    /// Chooses ports for `names`. `wanted` is `name=port,…` and is not negotiable.
    pub(crate) fn choose(
        file: &Path,
        names: &[&'static str],
        wanted: &str,
        progress: &Progress,
    ) -> anyhow::Result<Self> {
        let mut known: BTreeMap<String, u16> = std::fs::read_to_string(file)
            .ok()
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_default();
        let wanted = parse(wanted, names)?;
        let deadline = Instant::now() + PATIENCE;
        let mut chosen = BTreeMap::new();
        for (index, name) in names.iter().enumerate() {
            let port = if let Some(&number) = wanted.get(*name) {
                hold_until(number, deadline)
                    .with_context(|| format!("DEV_PORTS: cannot listen on port {number} for {name}"))?
            } else {
                let remembered = known.get(*name).copied();
                let port = remembered.and_then(|number| hold_until(number, deadline).ok());
                match port {
                    Some(port) => port,
                    None => free(u16::try_from(index)?)?,
                }
            };
            if let Some(before) = known.insert((*name).to_owned(), port.number)
                && before != port.number
            {
                progress.note(&format!("port {before} is taken: {name} moves to {}", port.number));
            }
            chosen.insert((*name).to_owned(), port);
        }
        private_file::write(file, &(serde_json::to_string_pretty(&known)? + "\n"))?;
        Ok(Self(chosen))
    }

    /// The port of that name, out of the collection.
    pub(crate) fn take(&mut self, name: &str) -> anyhow::Result<Port> {
        self.0.remove(name).with_context(|| format!("no port is known as {name}"))
    }
}

fn parse(wanted: &str, names: &[&str]) -> anyhow::Result<BTreeMap<String, u16>> {
    let mut ports = BTreeMap::new();
    for entry in wanted.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        let (name, number) =
            entry.split_once('=').with_context(|| format!("DEV_PORTS: {entry} is not name=port"))?;
        ensure!(names.contains(&name), "DEV_PORTS: there is no port {name}, only {}", names.join(", "));
        let number = number.parse().with_context(|| format!("DEV_PORTS: {number} is not a port"))?;
        ports.insert(name.to_owned(), number);
    }
    Ok(ports)
}

fn hold_until(number: u16, deadline: Instant) -> std::io::Result<Port> {
    loop {
        match Port::hold(number) {
            Err(_) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(50)),
            result => return result,
        }
    }
}

/// Each name has its own last two digits, and each checkout usually its own hundreds.
fn free(index: u16) -> anyhow::Result<Port> {
    let candidates = (0..TRIES).map(|hundred| FIRST + hundred * STRIDE + index);
    candidates.into_iter().find_map(|number| Port::hold(number).ok()).context("no free port is left")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wanted_ports_have_known_names() {
        assert_eq!(parse("api=9000, smtp=25 ,", &["api", "smtp"]).unwrap()["smtp"], 25);
        for bad in ["api", "api=x", "web=1", "api=70000"] {
            assert!(parse(bad, &["api", "smtp"]).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_taken_port_is_not_chosen_and_a_free_one_is_remembered() {
        let file = std::env::temp_dir().join(format!("ports-{}.json", std::process::id()));
        let progress = Progress::quiet_to_stderr();
        let first = Ports::choose(&file, &["api"], "", &progress).unwrap().take("api").unwrap();
        let other = free(0).unwrap();
        assert_ne!(first.number, other.number);
        let number = first.number;
        drop(first);
        let again = Ports::choose(&file, &["api"], "", &progress).unwrap().take("api").unwrap();
        assert_eq!(again.number, number);
        std::fs::remove_file(file).unwrap();
    }
}
