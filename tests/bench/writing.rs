//! Writing, beside `pwrite` and `fdatasync` of one page where the store lies.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::sync::Barrier;
use std::thread;

use crate::measure::{Line, Report, Unit, in_turns, median, once, per_call};
use crate::population::{CONTAINERS, Population, SEED, document, id};
use crate::support::{Mounted, Random};

const RUNS: usize = 9;
const CREATIONS: usize = 50;
const WRITES: usize = 200;
const WRITERS: usize = 16;
const PAGE: [u8; 4096] = [7; 4096];
/// Two states that differ, so that each write changes something.
const WORDS: [&[u8]; 2] = [b"running\n", b"paused\n"];

const SYNC: &str = "for `fdatasync`";

pub(crate) fn measure(report: &mut Report, tree: &Mounted, population: &Population) {
    let page = page_file(tree, 0);
    let sync = || per_call(WRITES, |number| sync_page(&page, number));
    creation(report, tree, sync);

    let status = tree.path("ctr").join(&population.ids[0]).join("status");
    let echo = || {
        per_call(WRITES, |number| {
            let mut file = OpenOptions::new().write(true).truncate(true).open(&status).unwrap();
            file.write_all(WORDS[number % 2]).unwrap();
        })
    };
    report.seconds("`echo running > status`", in_turns(RUNS, echo, sync), SYNC, "");

    let file = OpenOptions::new().write(true).open(&status).unwrap();
    let write = || per_call(WRITES, |number| (&file).write_all(WORDS[number % 2]).unwrap());
    report.seconds("the `write` in it", in_turns(RUNS, write, sync), SYNC, "200 µs");
    company(report, tree, population);
}

/// A file of pages beside the store.
pub(crate) fn page_file(tree: &Mounted, number: usize) -> File {
    let file = File::create(tree.store.with_file_name(format!("page-{number}"))).unwrap();
    file.write_all_at(&PAGE.repeat(16), 0).unwrap();
    file.sync_all().unwrap();
    file
}

/// Writes one page, durably.
pub(crate) fn sync_page(file: &File, number: usize) {
    file.write_all_at(&PAGE, (number % 16 * PAGE.len()) as u64).unwrap();
    file.sync_data().unwrap();
}

/// What is made here is removed again, so that what follows meets the same population.
fn creation(report: &mut Report, tree: &Mounted, sync: impl Fn() -> f64 + Copy) {
    let directory = tree.path("ctr");
    let mkdir = || {
        let seconds = per_call(CREATIONS, |number| fs::create_dir(directory.join(format!("made-{number}"))).unwrap());
        (0..CREATIONS).for_each(|number| fs::remove_file(directory.join(format!("made-{number}"))).unwrap());
        seconds
    };
    report.seconds("`mkdir ctr/NAME`", in_turns(RUNS, mkdir, sync), SYNC, "");

    let mut random = Random(SEED + 1);
    let create = || {
        let ids: Vec<String> = (0..CREATIONS).map(|_| id(&mut random)).collect();
        let seconds = per_call(CREATIONS, |number| {
            let mut file = OpenOptions::new().read(true).write(true).open(tree.path("create/ctr")).unwrap();
            file.write_all(document(&ids[number], CONTAINERS + number).as_bytes()).unwrap();
            let mut answer = String::new();
            file.read_to_string(&mut answer).unwrap();
            assert_eq!(answer.trim(), ids[number]);
        });
        ids.iter().for_each(|id| fs::remove_dir(directory.join(id)).unwrap());
        seconds
    };
    report.seconds("one document to `create/ctr`, its ID read", in_turns(RUNS, create, sync), SYNC, "");
}

/// What one writer does, and what sixteen do at a time, each in a container of its own.
fn company(report: &mut Report, tree: &Mounted, population: &Population) {
    let statuses = population.ids[..WRITERS].iter().map(|id| tree.path("ctr").join(id).join("status"));
    let statuses: Vec<File> = statuses.map(|path| OpenOptions::new().write(true).open(path).unwrap()).collect();
    let write = |writer: usize, number: usize| (&statuses[writer]).write_all(WORDS[number % 2]).unwrap();
    let pages: Vec<File> = (0..WRITERS).map(|number| page_file(tree, number)).collect();
    let sync = |writer: usize, number: usize| sync_page(&pages[writer], number);

    let (mut ours, mut theirs) = ((vec![], vec![]), (vec![], vec![]));
    for _ in 0..RUNS {
        ours.0.push(together(1, &write));
        ours.1.push(together(WRITERS, &write));
        theirs.0.push(together(1, &sync));
        theirs.1.push(together(WRITERS, &sync));
    }
    let (one, sixteen) = (median(ours.0), median(ours.1));
    let (one_sync, sixteen_syncs) = (median(theirs.0), median(theirs.1));
    report.seconds("a state write, 16 writers at a time", (sixteen, sixteen_syncs), SYNC, "");
    report.add(&Line {
        name: "what 16 writers do against one",
        ours: one / sixteen,
        beside: Some((one_sync / sixteen_syncs, SYNC)),
        unit: Unit::Times,
        design: "",
    });
}

/// Seconds for each of all the writes that several writers do at a time.
fn together(writers: usize, write: &(impl Fn(usize, usize) + Sync)) -> f64 {
    let start = Barrier::new(writers + 1);
    let seconds = thread::scope(|scope| {
        let begin = &start;
        let writers: Vec<_> = (0..writers)
            .map(|writer| {
                scope.spawn(move || {
                    begin.wait();
                    (0..WRITES).for_each(|number| write(writer, number));
                })
            })
            .collect();
        start.wait();
        once(|| writers.into_iter().for_each(|writer| writer.join().unwrap()))
    });
    seconds / (writers * WRITES) as f64
}
