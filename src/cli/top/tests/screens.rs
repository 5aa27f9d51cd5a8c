//! Screens, compared as a whole.

use super::*;
use crate::model::HoldId;

#[test]
fn services_at_80x24() {
    let mut top = Top::with_services();
    assert_eq!(top.screen(80, 24), include_str!("services-80x24.txt"));
}

#[test]
fn directors_at_120x40() {
    let mut top = Top::new(&["lb1", "lb2", "a-director-with-a-long-name"]);
    top.frame(0, &[service(1, 5.0), service(2, 0.0)]);
    top.frame(1, &[service(1, 12.0)]);
    top.now += Duration::from_secs(12);
    top.frame(0, &[service(1, 5.0), service(2, 0.0)]);
    let refused = "http://192.0.2.2:4787 cannot be reached: Connection refused".to_owned();
    top.update(Update::Frame(1, Err(refused)));
    assert_eq!(top.screen(120, 40), include_str!("directors-120x40.txt"));
}

#[test]
fn servers_at_80x24() {
    let mut top = Top::with_services();
    top.open(1, &[Hold::drain(HoldId(1))]);
    assert_eq!(top.screen(80, 24), include_str!("servers-80x24.txt"));
}

#[test]
fn a_question_and_the_help_at_80x24() {
    let mut top = Top::with_services();
    top.open(1, &[]);
    top.keys("d");
    assert_eq!(top.screen(80, 24), include_str!("question-80x24.txt"));
    top.keys("n?");
    assert_eq!(top.screen(80, 24), include_str!("help-80x24.txt"));
}

#[test]
fn figures_become_old_when_frames_are_missing() {
    let mut top = Top::with_services();
    top.now += Duration::from_secs(6);
    assert_eq!(top.lines("!"), [""; 0]);
    top.now += Duration::from_secs(1);
    assert_eq!(top.lines("!"), ["! figures 7 s old"]);
    top.frame(0, &[]);
    assert_eq!(top.lines("!"), [""; 0]);
}

#[test]
fn rates_that_are_not_known_and_counters_that_are_not_refreshed_are_shown_as_such() {
    let mut top = Top::new(&["lb1"]);
    assert_eq!(top.lines("no figures yet").len(), 1);
    let mut services = [service(1, 5.0)];
    services[0].as_object_mut().unwrap().remove("rates");
    let mut first = frame(&services);
    first.estimation = false;
    top.update(Update::Frame(0, Ok(first)));
    let line = &top.lines("tcp-192.0.2.1-80")[0];
    assert!(
        line.ends_with("30      3      -     -     -     -     -"),
        "{line:?}"
    );
    assert_eq!(top.lines("run_estimation").len(), 1);
}

#[test]
fn a_long_list_scrolls_with_the_selection() {
    let mut top = Top::new(&["lb1"]);
    let services: Vec<_> = (1..=100)
        .map(|number| service(number, f64::from(number)))
        .collect();
    top.frame(0, &services);
    let shown = top.services();
    assert_eq!(shown[0].to_string(), "tcp-192.0.2.100-80");
    top.key(KeyCode::PageDown);
    let next = top.services();
    assert_eq!(
        next.last().unwrap().to_string(),
        format!("tcp-192.0.2.{}-80", 100 - shown.len())
    );
    top.key(KeyCode::End);
    assert_eq!(
        top.services().last().unwrap().to_string(),
        "tcp-192.0.2.1-80"
    );
    // A larger terminal shows more of them, and no empty lines.
    assert_eq!(top.screen(80, 50).matches("tcp-").count(), shown.len() + 26);
    top.key(KeyCode::Home);
    assert_eq!(top.services(), shown);
}

#[test]
fn only_characters_that_the_terminal_has_are_written() {
    let mut top = Top::new(&["é\u{1b}[2J", "b"]);
    top.frame(0, &[service(1, 5.0)]);
    top.keys("?");
    let screen = top.screen(80, 24);
    assert!(screen.is_ascii(), "{screen}");
    assert!(screen.contains("?\\u001b[2J"), "{screen}");
    top.styles = Styles::new(true, true);
    let screen = top.screen(80, 24);
    assert!(
        screen.contains("é\\u001b[2J") && screen.contains('┌'),
        "{screen}"
    );
}

#[test]
fn the_id_of_a_service_precedes_a_long_name_of_its_director() {
    let mut top = Top::new(&["unix:///run/ipvsd/ipvsd.sock"]);
    top.frame(0, &[service(1, 5.0)]);
    top.open(1, &[]);
    let screen = top.screen(80, 24);
    let title = screen.lines().next().unwrap();
    let start = "ipvsctl top: tcp-192.0.2.1-80 on unix:///~vsd.sock every 2 s";
    assert!(title.starts_with(start), "{title}");
}

#[test]
fn every_size_of_a_terminal_is_drawn() {
    let mut top = Top::new(&["lb1", "lb2", "lb3"]);
    top.frame(0, &[service(1, 5.0), service(2, 0.0)]);
    for index in [1, 2] {
        top.update(Update::Frame(index, Err("refused".to_owned())));
    }
    let draw = |top: &mut Top| {
        for (width, height) in [(1, 1), (71, 24), (72, 18), (80, 17), (73, 19), (200, 60)] {
            let screen = top.screen(width, height);
            let is_small = width < 72 || height < 18;
            assert_eq!(
                screen.contains("lb1"),
                !is_small,
                "{width}x{height}: {screen}"
            );
        }
    };
    draw(&mut top);
    top.open(1, &[]);
    top.keys("d");
    draw(&mut top);
}
