//! The log of the daemons: datagrams to `/dev/log`, where syslog or the journal listens.

use std::os::unix::net::UnixDatagram;
use std::sync::OnceLock;

use log::{Level, LevelFilter, Log, Metadata, Record};

const DEV_LOG: &str = "/dev/log";
/// LOG_DAEMON of syslog(3).
const FACILITY: u8 = 3 << 3;

struct Syslog {
    /// `ctrfs-keeper[123]`.
    tag: String,
}

/// Sends what this process logs to `/dev/log` from now on, under the name `ident`.
///
/// Where nobody listens there, the lines are dropped.
pub fn init(ident: &str) {
    static LOGGER: OnceLock<Syslog> = OnceLock::new();
    let tag = format!("{ident}[{}]", std::process::id());
    if log::set_logger(LOGGER.get_or_init(|| Syslog { tag })).is_ok() {
        log::set_max_level(LevelFilter::Info);
    }
}

impl Log for Syslog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let line = format!("<{}>{}: {}", FACILITY | severity(record.level()), self.tag, record.args());
        send(line.as_bytes());
    }

    fn flush(&self) {}
}

// RFC 3164 lets whoever receives a line put in the time, as the journal does anyway. A socket for
// each line outlives any restart of the listener; not blocking, a stuck one cannot stop requests.
fn send(line: &[u8]) {
    if let Ok(socket) = UnixDatagram::unbound() {
        let _ = socket.set_nonblocking(true).and_then(|()| socket.send_to(line, DEV_LOG));
    }
}

fn severity(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}
