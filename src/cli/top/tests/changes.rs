//! Drains, weights, and the other keys.

use super::*;
use crate::{
    cli::top::update::{Change, ChangeKind},
    model::HoldId,
};

fn change(top: &Top, server: &str, kind: ChangeKind) -> Option<Action> {
    Some(Action::Change(Change {
        of: top.state.detail.as_ref().unwrap().shown,
        server: server.parse().unwrap(),
        kind,
    }))
}

#[test]
fn a_drain_is_made_after_a_confirmation_that_names_the_server() {
    let mut top = Top::with_services();
    top.keys("d");
    assert_eq!(top.lines("open a service with Enter").len(), 1);
    top.open(1, &[]);
    top.key(KeyCode::Home);
    top.keys("r");
    assert_eq!(top.keys("d"), None);
    for part in [
        "Drain 192.168.10.1-8080?",
        "in tcp-192.0.2.1-80 on lb1",
        "It gets no new connections",
    ] {
        assert_eq!(top.lines(part).len(), 1, "{part}");
    }
    // Neither another key nor the same again is an answer.
    assert_eq!(top.keys("dqx "), None);
    assert_eq!(top.key(KeyCode::Enter), None);
    assert_eq!(top.lines("Drain 192").len(), 1);
    assert_eq!(top.keys("n"), None);
    assert_eq!(top.lines("Drain 192").len(), 0);
    top.keys("d");
    let expected = change(&top, "192.168.10.1-8080", ChangeKind::Drain);
    assert_eq!(top.keys("y"), expected);
    top.update(Update::Changed(Err(
        "needs the role operator\u{1b}[2J".to_owned()
    )));
    assert_eq!(top.lines("needs the role operator\\u001b[2J").len(), 1);
    top.key(KeyCode::Down);
    assert_eq!(top.lines("needs the role").len(), 0, "until the next key");
}

#[test]
fn the_drain_of_a_held_server_is_ended() {
    let mut top = Top::with_services();
    let id = HoldId(0x0123_4567_89ab_cdef);
    top.open(1, &[Hold::drain(id)]);
    top.keys("r");
    top.key(KeyCode::Home);
    top.keys("d");
    assert_eq!(top.lines("drained already").len(), 1);
    top.keys("u");
    assert_eq!(
        top.lines("All servers of the drain 0123456789abcdef").len(),
        1
    );
    let expected = change(&top, "192.168.10.1-8080", ChangeKind::Undrain(id));
    assert_eq!(top.keys("y"), expected);
    top.key(KeyCode::End);
    top.keys("u");
    assert_eq!(top.lines("the server has no drain").len(), 1);
}

#[test]
fn a_weight_is_typed_and_confirmed() {
    let mut top = Top::with_services();
    top.open(1, &[]);
    top.key(KeyCode::End);
    top.keys("w1x05");
    assert_eq!(top.lines("weight of 192.168.10.2-8080: 105_").len(), 1);
    top.key(KeyCode::Backspace);
    assert_eq!(top.key(KeyCode::Enter), None);
    assert_eq!(
        top.lines("weight of 192.168.10.2-8080 from 2 to 10?").len(),
        1
    );
    let kind = ChangeKind::Weight { from: 2, to: 10 };
    let expected = change(&top, "192.168.10.2-8080", kind);
    assert_eq!(top.keys("y"), expected);
    for (typed, message) in [
        ("w2", "the weight is 2 already"),
        ("w", "a weight is a number from 0 to 65535"),
        ("w65536", "a weight is a number from 0 to 65535"),
    ] {
        top.keys(typed);
        assert_eq!(top.key(KeyCode::Enter), None);
        assert_eq!(top.lines(message).len(), 1, "{typed}");
    }
    top.keys("w7");
    top.key(KeyCode::Esc);
    assert_eq!(top.lines("weight of").len(), 0);
    assert!(top.state.detail.is_some(), "still the servers");
    assert_eq!(top.key(KeyCode::Esc), Some(Action::Close));
}

#[test]
fn services_are_filtered_while_the_filter_is_typed() {
    let mut top = Top::with_services();
    assert_eq!(top.services().len(), 3);
    top.keys("/.2-");
    assert_eq!(top.lines("filter: .2-_").len(), 1);
    assert_eq!(top.services(), ["tcp-192.0.2.2-80".parse().unwrap()]);
    top.key(KeyCode::Enter);
    assert_eq!(top.lines("1 of 3 services").len(), 1);
    top.keys("/q");
    assert_eq!(top.services(), []);
    // The filter from before.
    top.key(KeyCode::Esc);
    assert_eq!(top.services().len(), 1);
    top.key(KeyCode::Esc);
    assert_eq!(top.services().len(), 3);
    top.keys("/LB1");
    assert_eq!(top.services().len(), 3, "the name of the director");
}

#[test]
fn rows_are_sorted_by_each_column_and_the_selection_stays_on_its_row() {
    let mut top = Top::with_services();
    let numbers = |top: &mut Top| {
        let ids = top.services().into_iter().map(|id| id.to_string());
        ids.map(|id| id.as_bytes()[12]).collect::<Vec<_>>()
    };
    assert_eq!(numbers(&mut top), b"312");
    top.keys("r");
    assert_eq!(numbers(&mut top), b"213");
    top.key(KeyCode::Down);
    let selected = |top: &Top| top.state.services.selected(&top.state.keys()).unwrap();
    let first = selected(&top);
    assert_eq!(first.service.to_string(), "tcp-192.0.2.1-80");
    for _ in 0..9 {
        top.key(KeyCode::Left);
    }
    assert_eq!(top.lines("by id, ascending").len(), 1);
    assert_eq!(numbers(&mut top), b"123");
    assert_eq!(selected(&top), first);
    top.keys(">>>>>>>>>>>");
    assert_eq!(top.lines("by bytes/s out, descending").len(), 1);
    assert_eq!(numbers(&mut top), b"312");
    assert_eq!(selected(&top), first);
    // The row that takes the place of one that has disappeared.
    top.frame(0, &[service(2, 0.0), service(3, 1234.5)]);
    top.screen(80, 24);
    assert_eq!(selected(&top).service.to_string(), "tcp-192.0.2.2-80");
}

#[test]
fn q_and_interrupt_quit() {
    let mut top = Top::with_services();
    assert_eq!(top.keys("q"), Some(Action::Quit));
    let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    for dialog in ["", "?", "/", "/x"] {
        top.keys(dialog);
        assert_eq!(top.state.key(interrupt), Some(Action::Quit), "{dialog:?}");
    }
}

#[test]
fn figures_of_a_service_that_is_not_shown_any_more_are_dropped() {
    let mut top = Top::with_services();
    top.open(1, &[]);
    top.key(KeyCode::Esc);
    top.open(2, &[]);
    let late: ServiceFrame = serde_json::from_value(service(1, 77.0)).unwrap();
    top.servers(late, &[]);
    assert_eq!(top.lines("77.0"), [""; 0]);
}
