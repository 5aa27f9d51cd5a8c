//! Streams of statistics and their history, from one sampler.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use jiff::Timestamp;
use serde::Serialize;
use tokio::{
    select,
    time::{sleep, sleep_until},
};

use super::{
    App, RequestContext, RequestId,
    access::{CHECK_INTERVAL, SessionWatch},
    offload,
};
use crate::{
    budget::{Budget, Charge},
    executor::{CountedTotalsQuery, EstimationQuery, TableQuery, TotalsQuery},
    identity::{Principal, Verb},
    model::{Error, ServiceKey},
    sampling::{
        Frame, Interval, NextSample, Reading, ServerFrame, ServiceFrame, Subscription, TotalsFrame,
        Update, with_three_decimals,
    },
};

/// A request for a stream of statistics.
#[derive(Clone, Debug)]
pub struct StatsStreamRequest {
    /// Time between two frames.
    pub interval: Interval,
    /// What frames show.
    pub include: StatsInclude,
    /// The only service that frames show; `None` for all.
    pub service: Option<ServiceKey>,
}

/// What frames show beside the totals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatsInclude {
    /// Services.
    pub services: bool,
    /// The servers of the service.
    pub servers: bool,
}

/// A request for the history.
#[derive(Clone, Copy, Debug)]
pub struct StatsHistoryRequest {
    /// The service; `None` for the totals.
    pub service: Option<ServiceKey>,
    /// How far back, in seconds.
    pub window_seconds: u64,
}

/// The history.
#[derive(Debug)]
pub struct StatsHistory {
    /// Time between two samples.
    pub interval: Duration,
    /// Frames, oldest first.
    pub frames: Vec<Frame>,
}

/// A message of a stream.
#[derive(Clone, Debug)]
pub enum StatsMessage {
    /// A frame, of which the stream shows [a part](StatsStream::view).
    Frame(Arc<Frame>),
    /// The kernel could not be read. The stream goes on.
    Unavailable(Error),
    /// Nothing has happened for some time.
    Idle,
    /// The credential is not valid any more, or permits something else. It is the last message.
    End(Error),
}

/// The messages of a stream. A client that does not read in time skips frames.
#[derive(Debug)]
pub struct StatsStream {
    subscription: Subscription,
    view: StatsView,
    session: SessionWatch,
    next_idle: Instant,
    has_ended: bool,
    budget: Budget,
}

/// What a client sees of a frame.
#[derive(Clone, Debug)]
pub struct StatsView {
    principal: Arc<Principal>,
    include: StatsInclude,
    service: Option<ServiceKey>,
}

/// A frame as a client sees it.
#[derive(Clone, Debug, Serialize)]
pub struct ShownFrame<'a> {
    /// When the counters were read (RFC 3339, in milliseconds).
    pub time: String,
    /// The time over which the rates were computed; absent in a first frame.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval_seconds: Option<f64>,
    /// Whether the kernel refreshes the counters of services and servers.
    pub estimation: bool,
    /// Of the services that the client sees.
    pub totals: TotalsFrame,
    /// Services in the order of lists; absent if the client does not want them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub services: Option<Vec<ShownService<'a>>>,
}

/// A service of a frame as a client sees it.
#[derive(Clone, Debug, Serialize)]
pub struct ShownService<'a> {
    /// The service.
    #[serde(flatten)]
    pub service: &'a ServiceFrame,
    /// Its servers in the kernel's order; absent if the client does not want them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub servers: Option<&'a [ServerFrame]>,
}

/// Time after which a message [`Idle`](StatsMessage::Idle) comes. Clients may rely on 15 s.
const IDLE_INTERVAL: Duration = Duration::from_secs(10);

/// Time that a sample may wait and take.
const SAMPLE_TIMEOUT: Duration = Duration::from_secs(60);

/// The age of a table that was read for others and is good enough for a sample.
const SAMPLE_MAX_AGE: Duration = Duration::from_millis(500);

// === impl App ===

impl App {
    /// Starts a stream. The first frame comes when the table was read, or at once if it was read already.
    pub async fn stream_stats(
        &self,
        context: &RequestContext,
        request: StatsStreamRequest,
    ) -> Result<StatsStream, Error> {
        let StatsStreamRequest {
            interval,
            include,
            service,
        } = request;
        if include.servers && service.is_none() {
            let error = Error::invalid("include", "`servers` are shown of one service only");
            return Err(error.with_hint("name it with `service`, or omit `servers`"));
        }
        self.may_see(context, service)?;
        let detailed = service.filter(|_| include.servers);
        let (subscription, starts_task) =
            self.sampler.subscribe(interval, detailed, Instant::now())?;
        if starts_task {
            tokio::spawn(self.clone().sample());
        }
        Ok(StatsStream {
            subscription,
            view: StatsView {
                principal: context.principal.clone(),
                include,
                service,
            },
            session: SessionWatch::of(context),
            next_idle: Instant::now() + IDLE_INTERVAL,
            has_ended: false,
            budget: self.sampler.budget().clone(),
        })
    }

    /// The history of the totals or of one service.
    pub fn stats_history(
        &self,
        context: &RequestContext,
        request: StatsHistoryRequest,
    ) -> Result<StatsHistory, Error> {
        let StatsHistoryRequest {
            service,
            window_seconds,
        } = request;
        self.may_see(context, service)?;
        let principal = &context.principal;
        let sees = |key| principal.sees(key);
        let sees: Option<&dyn Fn(ServiceKey) -> bool> = match principal.sees_everything() {
            true => None,
            false => Some(&sees),
        };
        let window = Duration::from_secs(window_seconds);
        let frames = offload(|| self.sampler.history(window, service, sees))?;
        Ok(StatsHistory {
            interval: self.sampler.history_interval(),
            frames,
        })
    }

    /// Starts to take samples for the history, if there is one. Requires a running tokio runtime.
    pub fn start_history(&self) {
        if self.sampler.start() {
            tokio::spawn(self.clone().sample());
        }
    }

    fn may_see(&self, context: &RequestContext, service: Option<ServiceKey>) -> Result<(), Error> {
        self.may_list(context)?;
        let Some(key) = service else { return Ok(()) };
        let decision = context.principal.may(Verb::ReadServices, Some(key), false);
        self.recorded(context, Verb::ReadServices, Some(key), decision)
    }

    /// Takes samples as long as somebody needs them.
    async fn sample(self) {
        let mut has_failed = false;
        loop {
            match self.sampler.next(Instant::now()) {
                NextSample::End => return,
                NextSample::In(time) => select! {
                    () = sleep(time) => {}
                    () = self.sampler.woken() => {}
                },
                NextSample::Now => {
                    let began = Instant::now();
                    let outcome = self.take_sample(began).await;
                    if let Err(error) = &outcome {
                        self.sampler.fail(error, began.elapsed(), Instant::now());
                        if !has_failed {
                            tracing::warn!(%error, "statistics streams get no frames");
                        }
                    }
                    has_failed = outcome.is_err();
                }
            }
        }
    }

    async fn take_sample(&self, began: Instant) -> Result<(), Error> {
        let id = RequestId::new("stats");
        let fresh = RequestContext::new(id, SAMPLE_TIMEOUT);
        let context = RequestContext {
            max_age: SAMPLE_MAX_AGE,
            ..fresh.clone()
        };
        let estimation = self.read(&context, EstimationQuery).await?.value;
        let table = self.read(&context, TableQuery).await?;
        let at = Instant::now();
        let counted = self.read(&fresh, CountedTotalsQuery).await?.value;
        let (totals, _) = self.read(&fresh, TotalsQuery).await?.value;
        let reading = Reading {
            at: at.checked_sub(table.age).unwrap_or(at),
            time: Timestamp::try_from(SystemTime::now() - table.age).unwrap_or_default(),
            estimation,
            totals,
            counted,
            table: &table.value,
        };
        offload(|| self.sampler.add(&reading, began.elapsed(), Instant::now()))
    }
}

// === impl StatsInclude ===

impl StatsInclude {
    /// The words of the API.
    pub const WORDS: [&str; 3] = ["totals", "services", "servers"];

    /// Default: services.
    pub const DEFAULT: Self = Self {
        services: true,
        servers: false,
    };

    /// The union of the listed parts; `totals` adds nothing, and `servers` includes `services`.
    pub fn named<'a>(words: impl Iterator<Item = &'a str>) -> Result<Self, String> {
        let mut include = Self {
            services: false,
            servers: false,
        };
        for word in words {
            match word {
                "totals" => {}
                "services" => include.services = true,
                "servers" => {
                    include = Self {
                        services: true,
                        servers: true,
                    };
                }
                _ => return Err(format!("{word:?} is unknown: {}", Self::WORDS.join(", "))),
            }
        }
        Ok(include)
    }
}

// === impl StatsStream ===

impl StatsStream {
    /// The next message; `None` at the end.
    pub async fn next(&mut self) -> Option<StatsMessage> {
        loop {
            if self.has_ended {
                return None;
            }
            if let Err(error) = self.session.check() {
                self.has_ended = true;
                return Some(StatsMessage::End(error));
            }
            let now = Instant::now();
            if now >= self.next_idle {
                self.next_idle = now + IDLE_INTERVAL;
                return Some(StatsMessage::Idle);
            }
            let wake = self.next_idle.min(now + CHECK_INTERVAL);
            select! {
                update = self.subscription.next() => {
                    self.next_idle = Instant::now() + IDLE_INTERVAL;
                    return Some(match update? {
                        Update::Frame(frame) => StatsMessage::Frame(frame),
                        Update::Unavailable(error) => StatsMessage::Unavailable(error),
                    });
                }
                () = sleep_until(wake.into()) => {}
            }
        }
    }

    /// Charges the memory of a message that is made for this client alone, until it has been sent. `None`: there is none,
    /// and the message must be skipped.
    pub fn charge(&self, bytes: usize) -> Option<Charge> {
        let charge = self.budget.charge(bytes).ok();
        if charge.is_none() {
            self.subscription.skip();
        }
        charge
    }

    /// What the client sees of frames.
    pub fn view(&self) -> &StatsView {
        &self.view
    }
}

// === impl StatsView ===

impl StatsView {
    /// The frame as the client sees it.
    pub fn of<'a>(&self, frame: &'a Frame) -> ShownFrame<'a> {
        let sees = |service: &&ServiceFrame| self.principal.sees(service.id);
        let shown = |service: &&ServiceFrame| {
            self.service.is_none_or(|key| service.id == key) && sees(service)
        };
        let services = frame.services.iter().filter(shown).map(|service| {
            let servers = frame.servers.get(&service.id).map(Vec::as_slice);
            ShownService {
                service,
                servers: servers.filter(|_| self.include.servers),
            }
        });
        ShownFrame {
            totals: match self.principal.sees_everything() {
                true => frame.totals.clone(),
                false => TotalsFrame::over(frame.services.iter().filter(sees)),
            },
            services: self.include.services.then(|| services.collect()),
            ..ShownFrame::without_services(frame)
        }
    }

    /// Whether the client sees what most clients see: all services without their servers, or the totals.
    pub fn is_usual(&self) -> bool {
        let sees_all = self.principal.sees_everything();
        sees_all && !self.include.servers && (self.service.is_none() || !self.include.services)
    }

    /// What frames show.
    pub fn include(&self) -> StatsInclude {
        self.include
    }
}

// === impl ShownFrame ===

impl<'a> ShownFrame<'a> {
    /// A frame of the history, with its services if it is about one.
    pub fn of_history(frame: &'a Frame, has_service: bool) -> Self {
        let services = frame.services.iter().map(|service| ShownService {
            service,
            servers: None,
        });
        Self {
            services: has_service.then(|| services.collect()),
            ..Self::without_services(frame)
        }
    }

    fn without_services(frame: &Frame) -> Self {
        let seconds = |interval: Duration| with_three_decimals(interval.as_secs_f64());
        Self {
            time: format!("{:.3}", frame.time),
            interval_seconds: frame.interval.map(seconds),
            estimation: frame.estimation,
            totals: frame.totals.clone(),
            services: None,
        }
    }
}
