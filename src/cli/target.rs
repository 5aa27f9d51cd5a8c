//! Which daemon is meant.

use std::{env, time::Duration};

use super::{
    CliError,
    config::{App, Config},
    options::Options,
};
use crate::client::{Client, ClientError, ClientOptions, Endpoint};

/// A daemon, and what it is called where that matters.
#[derive(Debug)]
pub(super) struct Target {
    /// Its name in the configuration.
    pub name: Option<String>,
    pub client: Client,
}

/// Names a daemon.
const VARIABLE: &str = "IPVSCTL_ENDPOINT";

// === impl Target ===

impl Target {
    /// The one that is meant: `--endpoint`, `--director`, the environment, the configuration's
    /// default, the local socket, the local port.
    pub(super) fn of(options: &Options) -> Result<Self, CliError> {
        if let Some(endpoint) = &options.endpoint {
            return Self::at(endpoint, options);
        }
        if let Some(name) = &options.director {
            let config = Config::load()?;
            return Self::named(name, config.director(name)?, options);
        }
        if let Some(endpoint) = env::var(VARIABLE).ok().filter(|text| !text.is_empty()) {
            return Self::at(&endpoint, options);
        }
        let config = Config::load()?;
        if let Some(name) = &config.default {
            return Self::named(name, config.director(name)?, options);
        }
        Self::local(options)
    }

    /// Every director of the configuration.
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

    fn at(endpoint: &str, options: &Options) -> Result<Self, CliError> {
        let client = client(endpoint.parse()?, None, options.timeout)?;
        Ok(Self { name: None, client })
    }

    pub(super) fn named(name: &str, director: &App, options: &Options) -> Result<Self, CliError> {
        let own = director.timeout;
        let own = own.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let timeout = options.timeout.or(own);
        Ok(Self {
            name: Some(name.to_owned()),
            client: client(director.endpoint.parse()?, Some(director), timeout)?,
        })
    }

    fn local(options: &Options) -> Result<Self, CliError> {
        let port = Endpoint::Tcp {
            host: "127.0.0.1".to_owned(),
            port: Endpoint::PORT,
            tls: false,
        };
        let places = [Endpoint::Unix(Endpoint::SOCKET.into()), port];
        for place in &places {
            let client = client(place.clone(), None, options.timeout)?;
            match client.probe() {
                Ok(()) => return Ok(Self { name: None, client }),
                Err(ClientError::Connect { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let [socket, address] = places.map(|place| place.to_string());
        Err(CliError::NoDirector { socket, address })
    }
}

fn client(
    endpoint: Endpoint,
    director: Option<&App>,
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
