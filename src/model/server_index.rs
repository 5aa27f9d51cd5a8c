//! Servers of a service, found by their keys.

use foldhash::{HashMap, HashMapExt};

use super::{Server, ServerKey};

/// Finds the servers of a service by their keys: at once while they are asked for in the order in which they are
/// listed, or in the reverse one. Others are found by an index, which is made when the first is asked for. (Two tables
/// that are compared list most servers in the same order.)
#[derive(Debug)]
pub struct ServerIndex<'a> {
    servers: &'a [Server],
    /// The place that was found last.
    last: Option<usize>,
    places: HashMap<ServerKey, usize>,
}

// === impl ServerIndex ===

impl<'a> ServerIndex<'a> {
    /// Of servers, none of which is listed twice.
    pub fn new(servers: &'a [Server]) -> Self {
        Self {
            servers,
            last: None,
            places: HashMap::new(),
        }
    }

    /// The place of a server in the list.
    pub fn place(&mut self, key: ServerKey) -> Option<usize> {
        let near = match self.last {
            Some(last) => [last.wrapping_add(1), last.wrapping_sub(1)],
            None => [0, self.servers.len().wrapping_sub(1)],
        };
        let servers = self.servers;
        let is_there = |place: &usize| servers.get(*place).is_some_and(|it| it.key == key);
        let place = near.into_iter().find(is_there);
        let place = place.or_else(|| {
            if self.places.is_empty() {
                let places = servers.iter().enumerate();
                self.places
                    .extend(places.map(|(place, it)| (it.key, place)));
            }
            self.places.get(&key).copied()
        });
        self.last = place.or(self.last);
        place
    }

    /// The server with this key.
    pub fn get(&mut self, key: ServerKey) -> Option<&'a Server> {
        self.servers.get(self.place(key)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ServerConfig;

    #[test]
    fn servers_are_found_in_any_order() {
        let key = |number: u8| ServerKey {
            address: [192, 0, 2, number].into(),
            port: 80,
        };
        let servers: Vec<_> = (0..5)
            .map(|number| Server::idle(key(number), ServerConfig::default()))
            .collect();
        for order in [
            [0, 1, 2, 3, 4, 5],
            [5, 4, 3, 2, 1, 0],
            [3, 5, 3, 0, 4, 1],
            [2, 3, 1, 5, 2, 2],
        ] {
            let mut index = ServerIndex::new(&servers);
            for number in order {
                let found = index.get(key(number)).map(|server| server.key);
                assert_eq!(found, (number < 5).then(|| key(number)), "{order:?}");
            }
        }
        assert_eq!(ServerIndex::new(&[]).place(key(0)), None);
    }
}
