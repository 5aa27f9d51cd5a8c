//! The sink with outputs that block, fail and recover.
#![allow(clippy::unwrap_used)]

use std::{
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use super::*;

/// What the output does with the next writes.
#[derive(Clone, Copy, PartialEq)]
enum State {
    Works,
    Fails,
    /// Takes five bytes, then fails.
    Breaks,
}

/// An output whose state the test sets.
#[derive(Clone)]
struct Output(Arc<Mutex<(State, Vec<u8>)>>, Arc<AtomicUsize>);

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (state, written) = &mut *self.0.lock().unwrap();
        let taken = match *state {
            State::Works => bytes.len(),
            State::Fails => {
                self.1.fetch_add(1, Ordering::SeqCst);
                return Err(io::ErrorKind::StorageFull.into());
            }
            State::Breaks => 5,
        };
        if *state == State::Breaks {
            *state = State::Fails;
        }
        written.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Output {
    fn new() -> Self {
        Self(
            Arc::new(Mutex::new((State::Works, Vec::new()))),
            Arc::default(),
        )
    }

    fn become_(&self, state: State) {
        self.0.lock().unwrap().0 = state;
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().1.clone()).unwrap()
    }

    /// Waits until a write has failed.
    fn wait_for_failure(&self) {
        let until = Instant::now() + Duration::from_secs(20);
        while self.1.load(Ordering::SeqCst) == 0 {
            assert!(Instant::now() < until, "no write has failed");
            thread::yield_now();
        }
    }

    /// Waits until the output contains `text`.
    fn wait_for(&self, text: &str) -> String {
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            let written = self.text();
            if written.contains(text) {
                return written;
            }
            assert!(Instant::now() < until, "no {text:?}: {written:?}");
            thread::yield_now();
        }
    }
}

/// An output that blocks until the sender is dropped.
struct Blocked(mpsc::Receiver<()>, Output);

impl Write for Blocked {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.recv();
        self.1.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn the_last_lines_are_written_before_finish_returns() {
    let output = Output::new();
    let sink = LogSink::with_output(LogFormat::Text, output.clone()).unwrap();
    for number in 0..1000 {
        sink.push(format!("{number}\n").as_bytes());
    }
    sink.finish();
    assert_eq!(output.text().lines().count(), 1000);
    assert!(output.text().ends_with("\n999\n"));
}

#[test]
fn lines_lost_by_a_failing_output_are_reported_when_it_works_again() {
    let output = Output::new();
    let sink = LogSink::with_output(LogFormat::Text, output.clone()).unwrap();
    sink.push(b"one\n");
    output.wait_for("one\n");
    output.become_(State::Breaks);
    sink.push(b"torn line\n");
    output.wait_for_failure();
    // The thread tries again without a new line.
    output.become_(State::Works);
    let written = output.wait_for("were lost\n");
    sink.push(b"two\n");
    sink.finish();
    let lines: Vec<_> = written.lines().collect();
    // The line that broke off ends there, so that the next one is whole.
    assert_eq!(lines[..2], ["one", "torn "]);
    assert!(
        lines[2].ends_with(" WARN ipvsd::log: 1 log lines were lost"),
        "{}",
        lines[2]
    );
    assert!(output.text().ends_with("log lines were lost\ntwo\n"));
}

#[test]
fn a_blocked_output_loses_what_exceeds_the_queue_and_delays_nothing() {
    let (unblock, blocked) = mpsc::channel();
    let output = Output::new();
    let blocked = Blocked(blocked, output.clone());
    let sink = LogSink::with_output(LogFormat::Json, blocked).unwrap();
    let line = "x".repeat(1023) + "\n";
    for _ in 0..3000 {
        sink.push(line.as_bytes());
    }
    assert!(sink.0.lock().lines.len() <= MAX_QUEUE);
    drop(unblock);
    output.wait_for("were lost");
    sink.finish();
    let written = output.text();
    let (lines, reports): (Vec<_>, Vec<_>) =
        written.lines().partition(|line| line.starts_with('x'));
    let lost = reports.iter().map(|report| {
        let report: serde_json::Value = serde_json::from_str(report).unwrap();
        assert_eq!(report["level"], "WARN");
        let message = report["message"].as_str().unwrap();
        let count = message.strip_suffix(" log lines were lost").unwrap();
        count.parse::<usize>().unwrap()
    });
    assert_eq!(lost.sum::<usize>() + lines.len(), 3000);
}

#[test]
fn finish_returns_although_the_output_is_blocked() {
    let (_unblock, blocked) = mpsc::channel();
    let sink = LogSink::with_output(LogFormat::Text, Blocked(blocked, Output::new())).unwrap();
    sink.push(b"line\n");
    sink.finish();
    assert!(!sink.0.lock().closed);
}

#[test]
fn a_line_has_a_maximum_size() {
    let output = Output::new();
    let sink = LogSink::with_output(LogFormat::Text, output.clone()).unwrap();
    sink.push(("ä".repeat(MAX_LINE) + "\n").as_bytes());
    sink.push(b"next\n");
    sink.finish();
    let written = output.text();
    assert!(written.len() < MAX_LINE + 32);
    assert!(written.ends_with("ää... (cut)\nnext\n"));
}
