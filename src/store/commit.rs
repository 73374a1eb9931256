//! Group commit: requests that arrive while a commit is under way share the next one.
//!
//! The first to come leads: it runs all that wait in one transaction, commits, and hands over to the
//! next that waits. redb cannot undo one request inside a transaction, so a request checks everything
//! before its first write. Should one fail after it wrote, the transaction is dropped and its requests
//! run again, one by one; a request may therefore run more than once and only its last run counts.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use super::error::StoreError;
use super::query::Update;

type Result<T> = std::result::Result<T, StoreError>;

/// How a request's run ended.
pub(super) enum Ran {
    /// It wants to be committed.
    Wrote,
    /// It was refused; whether it had written by then, the transaction knows.
    Refused,
}

pub(super) type Job = Box<dyn FnMut(&Update<'_>) -> Ran + Send>;

struct Ticket {
    job: Mutex<Job>,
    turn: Mutex<Turn>,
    called: Condvar,
}

enum Turn {
    Waits,
    Leads,
    Done(Result<()>),
}

#[derive(Default)]
pub(super) struct Line {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Arc<Ticket>>,
    led: bool,
}

/// What runs a batch: it commits all that wrote, or says that one failed too late.
pub(super) trait Batch {
    /// Runs the jobs in one transaction and commits it. `Ok(false)` when a job was refused after it
    /// had written; nothing is committed then.
    fn run(&self, jobs: &mut dyn Iterator<Item = &mut Job>) -> Result<bool>;
}

impl Line {
    /// Runs one job, in company or alone, and returns once its commit is on disk.
    pub(super) fn join(&self, batch: &impl Batch, job: Job) -> Result<()> {
        let ticket = Arc::new(Ticket { job: Mutex::new(job), turn: Mutex::new(Turn::Waits), called: Condvar::new() });
        {
            let mut state = self.state.lock();
            state.waiting.push_back(Arc::clone(&ticket));
            if !state.led {
                state.led = true;
                *ticket.turn.lock() = Turn::Leads;
            }
        }
        let mut turn = ticket.turn.lock();
        while matches!(*turn, Turn::Waits) {
            ticket.called.wait(&mut turn);
        }
        if let Turn::Done(result) = &*turn {
            return result.clone();
        }
        drop(turn);
        self.lead(batch, &ticket)
    }

    /// Runs all that wait, the leader among them.
    fn lead(&self, batch: &impl Batch, own: &Arc<Ticket>) -> Result<()> {
        let tickets: Vec<_> = self.state.lock().waiting.drain(..).collect();
        let mut own_result = Ok(());
        for (ticket, result) in tickets.iter().zip(run_all(batch, &tickets)) {
            if Arc::ptr_eq(ticket, own) {
                own_result = result;
            } else {
                *ticket.turn.lock() = Turn::Done(result);
                ticket.called.notify_one();
            }
        }
        let mut state = self.state.lock();
        match state.waiting.front() {
            None => state.led = false,
            Some(next) => {
                *next.turn.lock() = Turn::Leads;
                next.called.notify_one();
            }
        }
        own_result
    }
}

fn run_all(batch: &impl Batch, tickets: &[Arc<Ticket>]) -> Vec<Result<()>> {
    let mut jobs: Vec<_> = tickets.iter().map(|ticket| ticket.job.lock()).collect();
    match batch.run(&mut jobs.iter_mut().map(|job| &mut **job)) {
        Ok(true) => vec![Ok(()); tickets.len()],
        Ok(false) => jobs.iter_mut().map(|job| batch.run(&mut std::iter::once(&mut **job)).map(drop)).collect(),
        Err(error) => vec![Err(error); tickets.len()],
    }
}
