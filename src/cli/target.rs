//! Selects the daemon that a command addresses.

use std::time::Duration;

use super::{
    config::{Config, Director},
    environment,
    error::CliError,
    options::Options,
};
use crate::client::{Client, ClientError, ClientOptions, Endpoint};

/// A daemon.
#[derive(Debug)]
pub(super) struct Target {
    /// Name of the director, if it is selected by its name.
    pub name: Option<String>,
    pub client: Client,
}

// === impl Target ===

impl Target {
    /// Selects the daemon by, in this order: `--endpoint`, `--director`, the environment, the
    /// configured default, the local socket, the local port.
    pub(super) fn select(options: &Options) -> Result<Self, CliError> {
        if let Some(endpoint) = &options.endpoint {
            return Self::at(endpoint.parse()?, options);
        }
        if let Some(name) = &options.director {
            let config = Config::load()?;
            return Self::named(name, config.director(name)?, options);
        }
        if let Some(endpoint) = environment::endpoint()? {
            return Self::at(endpoint, options);
        }
        let config = Config::load()?;
        if let Some(name) = &config.default {
            return Self::named(name, config.director(name)?, options);
        }
        Self::local(options)
    }

    /// All configured directors.
    pub(super) fn all(options: &Options) -> Result<Vec<Self>, CliError> {
        let config = Config::load()?;
        if config.directors.is_empty() {
            return Err(CliError::NoDirectors);
        }
        config
            .directors
            .iter()
            .map(|(name, director)| Self::named(name, director, options))
            .collect()
    }

    fn at(endpoint: Endpoint, options: &Options) -> Result<Self, CliError> {
        let client = client(endpoint, None, options.timeout)?;
        Ok(Self { name: None, client })
    }

    /// The option of ipvsctl that selects this daemon.
    pub(super) fn selector(&self) -> String {
        match &self.name {
            Some(name) => format!("--director {name}"),
            None => format!("--endpoint {}", self.client.endpoint()),
        }
    }

    /// A configured director.
    pub(super) fn named(
        name: &str,
        director: &Director,
        options: &Options,
    ) -> Result<Self, CliError> {
        let timeout = options.timeout.or(director.timeout);
        Ok(Self {
            name: Some(name.to_owned()),
            client: client(director.endpoint.clone(), Some(director), timeout)?,
        })
    }

    fn local(options: &Options) -> Result<Self, CliError> {
        let port = Endpoint::Tcp {
            host: "127.0.0.1".to_owned(),
            port: Endpoint::PORT,
            tls: false,
        };
        let endpoints = [Endpoint::Unix(Endpoint::SOCKET.into()), port];
        for endpoint in &endpoints {
            let client = client(endpoint.clone(), None, options.timeout)?;
            match client.probe() {
                Ok(()) => return Ok(Self { name: None, client }),
                Err(ClientError::Connect { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let [socket, address] = endpoints.map(|endpoint| endpoint.to_string());
        Err(CliError::NoDirector { socket, address })
    }
}

fn client(
    endpoint: Endpoint,
    director: Option<&Director>,
    timeout: Option<Duration>,
) -> Result<Client, ClientError> {
    let defaults = ClientOptions::default();
    Client::with_options(
        endpoint,
        ClientOptions {
            timeout: timeout.unwrap_or(defaults.timeout),
            ca: director.and_then(|director| director.ca.clone()),
            user_agent: concat!("ipvsctl/", env!("CARGO_PKG_VERSION")).to_owned(),
            ..defaults
        },
    )
}
