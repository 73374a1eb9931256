//! The store on a disk in memory that dies, fails or lies at each of its operations in turn, or whose
//! bytes are damaged. No mount: the same engine on another backend.

use std::cell::Cell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use ctrfs::engine::{Boot, Edit, Engine, Error, Order, Origin, Patience, StoreError, World};
use ctrfs::model::error::Refusal;
use ctrfs::model::record::{Answer, Doc, Kind, Moment};
use ctrfs::store::{self, OpenError, Store};
use redb::StorageBackend;
use serde_json::{Map, Value, json};

use crate::support::{Random, Scratch, seed};

const CACHE: usize = 1 << 20;
const EIO: i32 = 5;

/// What the disk does from its nth operation on (a write, a change of length or a sync).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fault {
    /// Nothing reaches it any more: the machine is dead.
    Death,
    /// One operation fails; then all is well again.
    Once(i32),
}

#[derive(Debug, Default)]
struct State {
    live: Vec<u8>,
    durable: Vec<u8>,
    /// What was asked for since the last sync, each by itself.
    since: Vec<Change>,
    operations: usize,
    fault: Option<(usize, Fault)>,
    reads: usize,
    /// The read that fails; all others are well.
    bad_read: Option<usize>,
}

#[derive(Clone, Debug)]
enum Change {
    Length(usize),
    Bytes(usize, Vec<u8>),
}

impl Change {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Change::Length(length) => to.resize(*length, 0),
            Change::Bytes(at, bytes) => {
                // A write can reach the disk whose extension did not.
                let end = (at + bytes.len()).min(to.len());
                if let Some(place) = to.get_mut(*at..end) {
                    place.copy_from_slice(&bytes[..end - at]);
                }
            }
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Disk(Arc<Mutex<State>>);

impl Disk {
    fn of(bytes: &[u8], fault: Option<(usize, Fault)>) -> Disk {
        let state = State { live: bytes.to_vec(), durable: bytes.to_vec(), fault, ..State::default() };
        Disk(Arc::new(Mutex::new(state)))
    }

    fn operations(&self) -> usize {
        self.0.lock().unwrap().operations
    }

    /// The nth read from now on fails, once.
    fn fail_read(&self, n: usize) {
        let mut state = self.0.lock().unwrap();
        state.bad_read = Some(state.reads + n);
    }

    fn has_failed_to_read(&self) -> bool {
        let state = self.0.lock().unwrap();
        state.bad_read.is_some_and(|bad| bad < state.reads)
    }

    fn engine(&self) -> Result<Engine, OpenError> {
        self.engine_with(CACHE)
    }

    fn engine_with(&self, cache: usize) -> Result<Engine, OpenError> {
        let disk = self.clone();
        let store = Store::open_with_backend(Path::new("/simulated"), cache, move || Ok(disk.clone()))?;
        Ok(Engine::new(store, WORLD))
    }

    fn change(&self, change: Change) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        state.operate()?;
        change.apply(&mut state.live);
        state.since.push(change);
        Ok(())
    }

    /// What a machine finds after its death: what was synced, and of the rest whatever `reached` says.
    fn after_death(&self, mut reached: impl FnMut() -> bool) -> Vec<u8> {
        let state = self.0.lock().unwrap();
        let mut bytes = state.durable.clone();
        state.since.iter().filter(|_| reached()).for_each(|change| change.apply(&mut bytes));
        bytes
    }
}

impl State {
    fn operate(&mut self) -> io::Result<()> {
        let now = self.operations;
        self.operations += 1;
        match self.fault {
            Some((at, Fault::Death)) if now >= at => Err(io::ErrorKind::BrokenPipe.into()),
            Some((at, Fault::Once(errno))) if now == at => Err(io::Error::from_raw_os_error(errno)),
            _ => Ok(()),
        }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().live.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        let now = state.reads;
        state.reads += 1;
        if state.bad_read == Some(now) {
            return Err(io::Error::from_raw_os_error(EIO));
        }
        let from = usize::try_from(offset).unwrap();
        let bytes = state.live.get(from..from + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(Change::Length(len as usize))
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change(Change::Bytes(offset as usize, data.to_vec()))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        state.operate()?;
        state.durable = state.live.clone();
        state.since.clear();
        Ok(())
    }
}

thread_local! {
    /// Time and chance of a run: counted, so that all runs are alike.
    static TICKS: Cell<u64> = const { Cell::new(0) };
}

const WORLD: World = World { now, random };

fn tick() -> u64 {
    TICKS.set(TICKS.get() + 1);
    TICKS.get()
}

fn now() -> Moment {
    let nanos = tick();
    Moment { nanos, text: format!("1970-01-01T00:00:00.{nanos:09}Z") }
}

fn random() -> [u8; 40] {
    let mut bytes = [0; 40];
    let mut random = Random(tick());
    bytes.chunks_exact_mut(8).for_each(|chunk| chunk.copy_from_slice(&random.next().to_le_bytes()));
    bytes
}

fn document(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("{other}"),
    }
}

fn new_store() -> Vec<u8> {
    let scratch = Scratch::new();
    let dir = scratch.path().join("store");
    store::create(&dir, "00000000-0000-4000-8000-000000000000", 1).unwrap();
    std::fs::read(dir.join(store::FILE)).unwrap()
}

type Step = fn(&Engine, Origin) -> Result<(), Error>;

fn make(engine: &Engine, origin: Origin, kind: Kind, documents: &[Value]) -> Result<(), Error> {
    let documents = documents.iter().cloned().map(document).collect();
    engine.create(origin, kind, documents).map(drop)
}

fn edit(engine: &Engine, origin: Origin, name: &str, doc: Doc, patch: Value) -> Result<(), Error> {
    let serial = engine.view()?.find(Kind::Ctr, name)?.serial;
    engine.write(origin, Kind::Ctr, serial, doc, vec![Edit::Merge(document(patch))], None).map(drop)
}

/// What people do to a store, with growth and removal of large documents.
const SCRIPT: &[Step] = &[
    |e, o| make(e, o, Kind::Ctr, &[json!({"name": "v", "volatile": true})]),
    |e, o| edit(e, o, "v", Doc::State, json!({"exitCode": 1})),
    |e, o| e.carry_out(o, vec![Order::Wipe { images: true }]).map(drop),
    |e, o| make(e, o, Kind::Ctr, &[json!({"name": "a"}), json!({"name": "b", "Dependencies": ["a"]})]),
    |e, o| make(e, o, Kind::Pod, &[json!({"name": "pod"})]),
    |e, o| {
        make(
            e,
            o,
            Kind::Ctr,
            &[json!({"name": "m", "pod": "pod"}), json!({"name": "n", "pod": "pod", "pidNsCtr": "m"})],
        )
    },
    |e, o| edit(e, o, "m", Doc::State, json!({"state": "running", "pid": 7})),
    |e, o| edit(e, o, "b", Doc::Config, json!({"labels": {"pad": "x".repeat(100_000)}})),
    |e, o| e.rename(o, None, "a".into(), "z".into(), false).map(drop),
    |e, o| edit(e, o, "m", Doc::State, json!({"state": "exited", "exitCode": 1})),
    |e, o| e.carry_out(o, vec![Order::Pod { pod: "pod".into(), recursive: true }]).map(drop),
    |e, o| make(e, o, Kind::Ctr, &(0..40).map(|n| json!({"name": format!("c{n}")})).collect::<Vec<_>>()),
    |e, _| {
        e.settle();
        Ok(())
    },
    |e, o| e.rename(o, None, "z".into(), "b".into(), true).map(drop),
    |e, o| e.carry_out(o, vec![Order::Ctrs((0..20).map(|n| format!("c{n}")).collect())]).map(drop),
    |e, o| edit(e, o, "z", Doc::Config, json!({"labels": null})),
    |e, o| e.remove(o, Kind::Ctr, "z".into(), Patience::None).map(drop),
];

/// All that a store says, as text.
fn everything(engine: &Engine) -> Result<String, Error> {
    let view = engine.view()?;
    let mut text = engine.check(false)?;
    assert!(text.starts_with("ok"), "{text}");
    for kind in [Kind::Ctr, Kind::Pod] {
        text += &view.table(kind)?;
        for (serial, id) in view.objects(kind)? {
            text += &format!("{serial} {id} {:?} {:?}\n", view.needs(serial)?, view.members(serial)?);
            for doc in [Doc::Config, Doc::State] {
                text += &String::from_utf8(view.doc(serial, doc)?).unwrap();
            }
        }
    }
    Ok(text + &format!("{:?}\n", view.names()?))
}

/// Runs the script until a step fails. Returns how many steps were done, the boot among them, and how it
/// ended; `look` is called after each.
fn run(engine: &mut Engine, mut look: impl FnMut(&Engine)) -> (usize, Result<(), Error>) {
    TICKS.set(0);
    let boot = Boot { boot_id: "boot".into(), connection: 1 };
    if let Err(error) = engine.boot(&boot, None) {
        return (0, Err(error));
    }
    look(engine);
    for (n, step) in SCRIPT.iter().enumerate() {
        if let Err(error) = step(engine, Origin { unique: n as u64 * 2, resent: false }) {
            return (n + 1, Err(error));
        }
        look(engine);
    }
    (SCRIPT.len() + 1, Ok(()))
}

/// The whole script on a disk without a fault: what is said in between, and the disk's operations.
fn reference(bytes: &[u8]) -> (Vec<String>, usize) {
    let disk = Disk::of(bytes, None);
    let mut said = Vec::new();
    let (_, ended) = run(&mut disk.engine().unwrap(), |engine| said.push(everything(engine).unwrap()));
    ended.unwrap();
    (said, disk.operations())
}

#[test]
fn a_death_at_any_operation_leaves_what_was_acknowledged() {
    let bytes = new_store();
    let (said, operations) = reference(&bytes);
    let mut random = Random(seed());
    for at in 0..operations {
        let disk = Disk::of(&bytes, Some((at, Fault::Death)));
        let acknowledged = match disk.engine() {
            Ok(mut engine) => run(&mut engine, |_| ()).0,
            Err(_) => 0,
        };
        for mode in ["none", "all", "some", "some", "some"] {
            let image = disk.after_death(|| match mode {
                "none" => false,
                "all" => true,
                _ => random.below(2) == 0,
            });
            let engine = Disk::of(&image, None).engine();
            let mut engine = engine.unwrap_or_else(|error| panic!("operation {at}, {mode}: {error}"));
            engine.boot(&Boot { boot_id: "boot".into(), connection: 1 }, None).unwrap();
            let found = everything(&engine).unwrap();
            // The step under way may have been the first that nobody was told of.
            let allowed = &said[acknowledged.saturating_sub(1)..said.len().min(acknowledged + 1)];
            assert!(allowed.contains(&found), "operation {at}, {mode}: after step {acknowledged}:\n{found}");
        }
    }
    println!("{operations} operations");
}

#[test]
fn a_failure_at_any_operation_is_got_over() {
    const ENOSPC: i32 = 28;
    let bytes = new_store();
    let (said, operations) = reference(&bytes);
    for (at, errno) in (0..operations).flat_map(|at| [(at, EIO), (at, ENOSPC)]) {
        let disk = Disk::of(&bytes, Some((at, Fault::Once(errno))));
        let Ok(mut engine) = disk.engine() else { continue };
        let (done, ended) = run(&mut engine, |_| ());
        match ended {
            Ok(()) => {}
            Err(Error::Store(StoreError::NoSpace)) => assert_eq!(errno, ENOSPC),
            Err(Error::Store(StoreError::Database(_))) => assert_eq!(errno, EIO, "operation {at}"),
            Err(error) => panic!("operation {at}: {error}"),
        }
        let Some(step) = done.checked_sub(1).filter(|_| disk.operations() > at) else { continue };
        let found = everything(&engine).unwrap();
        assert!(said[step..said.len().min(step + 2)].contains(&found), "operation {at}: the store is torn:\n{found}");
        make(&engine, Origin { unique: 99, resent: false }, Kind::Ctr, &[json!({"name": "after"})])
            .unwrap_or_else(|error| panic!("operation {at}: the store does not recover: {error}"));
        assert!(everything(&engine).unwrap().contains("after"));
    }
}

#[test]
fn a_failed_read_is_got_over_by_whoever_comes_next() {
    let bytes = full_store();
    let said = everything(&booted(&Disk::of(&bytes, None))).unwrap();
    for n in (0..20).chain((20..).step_by(13)) {
        let disk = Disk::of(&bytes, None);
        let engine = booted(&disk);
        disk.fail_read(n);
        let met = everything(&engine);
        if !disk.has_failed_to_read() {
            assert!(n > 10, "{n} reads");
            println!("{n} reads");
            return;
        }
        match met {
            Ok(met) => assert_eq!(met, said, "read {n}"),
            Err(error) => assert!(matches!(error, Error::Store(StoreError::Database(_))), "read {n}: {error}"),
        }
        // A reader comes next, or a writer.
        if n % 2 == 0 {
            assert_eq!(everything(&engine).unwrap_or_else(|error| panic!("read {n}: {error}")), said);
        }
        make(&engine, Origin { unique: 99, resent: false }, Kind::Ctr, &[json!({"name": "after"})])
            .unwrap_or_else(|error| panic!("read {n}: {error}"));
        assert!(everything(&engine).unwrap().contains("after"));
    }
}

/// An engine that reads from the disk whenever it looks at something.
fn booted(disk: &Disk) -> Engine {
    let mut engine = disk.engine_with(0).unwrap();
    engine.boot(&Boot { boot_id: "boot".into(), connection: 1 }, None).unwrap();
    engine
}

#[test]
fn a_request_sent_again_after_a_death_is_answered_not_done_again() {
    let disk = Disk::of(&new_store(), None);
    let mut engine = disk.engine().unwrap();
    engine.boot(&Boot { boot_id: "boot".into(), connection: 1 }, None).unwrap();
    let origin = Origin { unique: 2, resent: false };
    let first = engine.create(origin, Kind::Ctr, vec![document(json!({"name": "a"}))]).unwrap();
    let again = |connection| {
        let mut engine = Disk::of(&disk.after_death(|| true), None).engine().unwrap();
        engine.boot(&Boot { boot_id: "boot".into(), connection }, None).unwrap();
        engine.create(Origin { resent: true, ..origin }, Kind::Ctr, vec![document(json!({"name": "a"}))])
    };
    assert_eq!(again(1).unwrap().answer, first.answer);
    assert!(matches!(first.answer, Answer::Objects(objects) if objects.len() == 1));
    let anew = again(2);
    assert!(matches!(anew, Err(Error::Refused(Refusal::NameTaken { .. }))), "another connection counts anew: {anew:?}");
}

/// Opens damaged bytes as the server does, then as `ctrfs check` does, and asks all that it asks: in
/// words or well, never for ever.
fn inspect(bytes: Vec<u8>) -> Result<String, String> {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let looked = catch_unwind(AssertUnwindSafe(|| match Disk::of(&bytes, None).engine() {
            Ok(_) => match verified(&bytes) {
                Ok(engine) => engine.check(false).map_err(|error| error.to_string()),
                Err(OpenError::Damaged { why, .. }) => Ok(why),
                Err(error) => Err(error.to_string()),
            },
            Err(OpenError::Damaged { why, .. }) => Ok(why),
            Err(OpenError::NewerSchema { .. }) => Ok("newer".to_owned()),
            Err(error) => Err(error.to_string()),
        }));
        let _ = tell.send(looked.unwrap_or_else(|_| Err("a panic".to_owned())));
    });
    told.recv_timeout(Duration::from_secs(20)).unwrap_or_else(|_| Err("a hang".to_owned()))
}

fn verified(bytes: &[u8]) -> Result<Engine, OpenError> {
    let disk = Disk::of(bytes, None);
    let store = Store::open_with_backend(Path::new("/simulated"), CACHE, move || Ok(disk.clone()))?;
    store.verify()?;
    Ok(Engine::new(store, WORLD))
}

fn full_store() -> Vec<u8> {
    let disk = Disk::of(&new_store(), None);
    run(&mut disk.engine().unwrap(), |_| ()).1.unwrap();
    disk.after_death(|| true)
}

#[test]
fn a_cut_off_file_is_damage_in_words() {
    let (bytes, mut random) = (full_store(), Random(seed()));
    for round in 0..150 {
        let length = match round {
            0 => 0,
            1..=40 => random.below(8192),
            _ => random.below(bytes.len()),
        };
        let said = inspect(bytes[..length].to_vec());
        assert!(said.is_ok(), "cut to {length} of {}: {said:?}", bytes.len());
    }
}

#[test]
fn flipped_bits_never_panic_or_hang() {
    let (bytes, mut random) = (full_store(), Random(seed()));
    let mut failed = Vec::new();
    for round in 0..400 {
        let mut damaged = bytes.clone();
        for _ in 0..=round % 4 {
            let at = if round % 3 == 0 { random.below(8192) } else { random.below(bytes.len()) };
            damaged[at] ^= 1 << random.below(8);
        }
        if let Err(error) = inspect(damaged) {
            failed.push(format!("round {round}: {error}"));
        }
    }
    assert!(failed.is_empty(), "{} of 400: {failed:#?}", failed.len());
}
