//! The screen, drawn into memory, and the keys.
#![allow(clippy::unwrap_used, reason = "a test that panics fails")]

mod changes;
mod screens;

use std::time::{Duration, Instant};

use ratatui::{
    Terminal,
    backend::TestBackend,
    crossterm::event::{KeyCode, KeyEvent, KeyModifiers},
};
use serde_json::{Value, json};

use super::{
    screen::draw,
    state::State,
    style::Styles,
    update::{Action, ServiceFigures, Shown, Update},
};
use crate::{
    client::{ServiceFrame, StatsFrame},
    model::{Forwarding, Hold, Server, ServerConfig, ServiceKey},
};

/// A program with its screen in memory.
struct Top {
    state: State,
    styles: Styles,
    now: Instant,
}

fn values(factor: f64) -> Value {
    json!({
        "connections": factor,
        "packets_in": 10.0 * factor,
        "packets_out": 8.0 * factor,
        "bytes_in": 1200.0 * factor,
        "bytes_out": 90_000.0 * factor,
    })
}

/// A service with servers, as the stream has it. The last byte of the address is `number`.
fn service(number: u8, rate: f64) -> Value {
    let servers = [1, 2].map(|server| {
        json!({
            "id": format!("192.168.10.{server}-8080"),
            "weight": server,
            "active_connections": 10 * server,
            "inactive_connections": server,
            "persistent_connections": 0,
            "rates": values(rate / 2.0),
        })
    });
    json!({
        "id": format!("tcp-192.0.2.{number}-80"),
        "rates": values(rate),
        "server_count": 2,
        "available_server_count": 1,
        "active_connections": 30,
        "inactive_connections": 3,
        "servers": servers,
    })
}

fn frame(services: &[Value]) -> StatsFrame {
    let count = services.len();
    serde_json::from_value(json!({
        "time": "2026-11-30T00:40:00.123Z",
        "interval_seconds": 2.001,
        "estimation": true,
        "totals": {
            "rates": values(100.0),
            "service_count": count,
            "server_count": 2 * count,
            "active_connections": 30 * count,
            "inactive_connections": 3 * count,
        },
        "services": services,
    }))
    .unwrap()
}

// === impl Top ===

impl Top {
    fn new(directors: &[&str]) -> Self {
        let names = directors.iter().map(|name| (*name).to_owned()).collect();
        Self {
            state: State::new(names, Duration::from_secs(2)),
            styles: Styles::new(false, false),
            now: Instant::now(),
        }
    }

    /// One director, `lb1`, with three services.
    fn with_services() -> Self {
        let mut top = Self::new(&["lb1"]);
        top.frame(0, &[service(1, 5.0), service(2, 0.0), service(3, 1234.5)]);
        top
    }

    fn frame(&mut self, director: usize, services: &[Value]) {
        self.update(Update::Frame(director, Ok(frame(services))));
    }

    fn update(&mut self, update: Update) {
        self.state.update(update, self.now);
    }

    /// Opens the service with this number, and receives its servers. The first is held by `holds`.
    fn open(&mut self, number: u8, holds: &[Hold]) {
        let service: ServiceFrame = serde_json::from_value(service(number, 5.0)).unwrap();
        let shown = Shown {
            director: 0,
            service: service.id,
        };
        while self.state.services.selected(&self.state.keys()) != Some(shown) {
            self.key(KeyCode::Down);
        }
        assert_eq!(self.key(KeyCode::Enter), Some(Action::Open(shown)));
        self.servers(service, holds);
    }

    fn servers(&mut self, frame: ServiceFrame, holds: &[Hold]) {
        let server = |(index, server): (usize, &crate::client::ServerFrame)| {
            let config = ServerConfig {
                forwarding: Forwarding::Masquerade,
                weight: server.weight,
                ..ServerConfig::default()
            };
            let holds = Some(holds).filter(|holds| index == 0 && !holds.is_empty());
            Server {
                holds: holds.map(Into::into),
                ..Server::idle(server.id, config)
            }
        };
        let servers = frame.servers.iter().enumerate().map(server).collect();
        let shown = Shown {
            director: 0,
            service: frame.id,
        };
        self.update(Update::Service(
            shown,
            Ok(ServiceFigures { frame, servers }),
        ));
    }

    fn key(&mut self, code: KeyCode) -> Option<Action> {
        self.state.key(KeyEvent::new(code, KeyModifiers::NONE))
    }

    /// Presses the keys of a text; returns what the last asks for.
    fn keys(&mut self, text: &str) -> Option<Action> {
        let mut last = None;
        for c in text.chars() {
            last = self.key(KeyCode::Char(c));
        }
        last
    }

    /// The screen, its lines without the blanks at their ends.
    fn screen(&mut self, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        let (state, styles, now) = (&mut self.state, self.styles, self.now);
        terminal
            .draw(|frame| draw(frame, state, styles, now))
            .unwrap();
        let buffer = terminal.backend().buffer();
        let lines = buffer.content().chunks(width.into()).map(|cells| {
            let line: String = cells.iter().map(ratatui::buffer::Cell::symbol).collect();
            line.trim_end().to_owned() + "\n"
        });
        lines.collect::<String>().trim_end().to_owned() + "\n"
    }

    /// The lines of the screen at 80x24 that contain a text.
    fn lines(&mut self, text: &str) -> Vec<String> {
        let screen = self.screen(80, 24);
        let lines = screen.lines().filter(|line| line.contains(text));
        lines.map(str::to_owned).collect()
    }

    /// The ids of the services on the screen.
    fn services(&mut self) -> Vec<ServiceKey> {
        let lines = self.lines("tcp-192.0.2.");
        let words = lines.iter().flat_map(|line| line.split_whitespace());
        words.filter_map(|word| word.parse().ok()).collect()
    }
}
