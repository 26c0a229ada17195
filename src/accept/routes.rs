//! Which request goes where, and the answers that have nothing to do with a carrier.
//!
//! | path | methods | route |
//! |---|---|---|
//! | `/twilio/incoming` | GET, HEAD (health), POST | [`Route::Incoming`] |
//! | `/twilio/after` | GET, HEAD, POST | [`Route::After`] |
//! | `/twilio/stream-status` | GET, HEAD, POST | [`Route::StreamStatus`] |
//! | `/telnyx/incoming`, and so of each carrier served | GET, HEAD, POST | [`Route::Carrier`] |
//! | `/jambonz/after`, and so of each carrier served | GET, HEAD, POST | [`Route::CarrierAfter`] |
//! | `/healthz`, `/readyz`, `/metrics` | GET, HEAD | the like-named |
//! | `/status`, `/status.json` | GET, HEAD | [`Route::Status`], [`Route::StatusJson`] |
//! | `/calendar.ics` | GET, HEAD | [`Route::Calendar`] where appointments are taken |
//! | `/` | GET, HEAD | [`Route::Page`] where browsers are served |
//! | `/vocaris.js` | GET, HEAD | [`Route::Module`] where browsers are served |
//! | `/`, `/web`, `/twilio/media`, `/twilio/media/…` | GET with an upgrade | [`Route::Upgrade`] |
//! | `/telnyx/media`, `/telnyx/media/…`, and so of each carrier served | the same | likewise |
//! | `/twilio/tracks` | the same, where both tracks are asked for | [`Route::Upgrade`] |
//!
//! OPTIONS is answered with the methods of its path, or of them all for `*`. Another method that
//! HTTP has is 405, one that it has not is 501.
//!
//! Where the figures have an address of their own, `/metrics` and the status page are served there,
//! with `/healthz` and `/readyz`, and nothing else is.
//!
//! In:       a request without its body; later the same with it.
//! Out:      a route, or the answer that refuses; later the answer.
//! Not here: the carriers' routes (`accept::carrier`, `accept::carriers`), upgrades
//!           (`accept::doors`), health and the status page (`accept::status`).

use super::answer::Answer;
use super::carriers::{Errand, errand};
use super::desk::{Desk, Outcome};
use super::page::Page;
use super::request::Request;
use super::secrets::{Bearer, bearer_in, is_one_of};
use crate::call::Door;
use crate::clock::Nanos;
use crate::config::Carrier;
use crate::limits::FIGURES_WAITING_MAX;
use crate::mail::{CalendarLetter, CalendarPage, ControlLetter};
use crate::wire::form;
use crate::wire::http::Method;
use crate::wire::upgrade::{UpgradeError, required};

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// The carrier's webhook.
    Incoming,
    /// The carrier asks what follows a closed stream.
    After,
    /// The carrier tells of a stream.
    StreamStatus,
    /// The webhook of another carrier.
    Carrier(Carrier),
    /// It asks what follows a closed stream.
    CarrierAfter(Carrier),
    /// Whether the process lives.
    Healthz,
    /// Whether new calls are welcome.
    Readyz,
    /// The figures.
    Metrics,
    /// The operator's page.
    Status,
    /// The figures it shows.
    StatusJson,
    /// The booked appointments.
    Calendar,
    /// The browsers' page.
    Page,
    /// The module the page is made with, for other pages.
    Module,
    /// A WebSocket.
    Upgrade(Door),
}

impl Route {
    /// Whether it is one of the carrier's, which sends its fields as a form or as a query.
    const fn takes_forms(self) -> bool {
        matches!(
            self,
            Route::Incoming
                | Route::After
                | Route::StreamStatus
                | Route::Carrier(_)
                | Route::CarrierAfter(_)
        )
    }

    /// What may be asked of it.
    const fn methods(self) -> &'static str {
        match self {
            _ if self.takes_forms() => ALL_METHODS,
            Route::Upgrade(_) => "GET, OPTIONS",
            _ => "GET, HEAD, OPTIONS",
        }
    }
}

/// What may be asked of one path or another.
const ALL_METHODS: &str = "GET, HEAD, POST, OPTIONS";
/// Where copies of both tracks go.
pub(super) const TRACKS: &str = "/twilio/tracks";

/// The media type of forms.
const FORM: &str = "application/x-www-form-urlencoded";
/// The media type of what a carrier may post instead.
pub(super) const JSON: &str = "application/json";

impl Desk {
    /// Where `request` goes; decided before its body is read. `is_admin`: it came to the address
    /// for figures.
    ///
    /// # Errors
    /// The answer to a request that goes no further.
    pub(super) fn route(&self, request: &Request, is_admin: bool) -> Result<Route, Answer> {
        match request.method {
            Method::Unknown => return Err(Answer::error(501, "no such method")),
            Method::Options if request.path() == "*" => return Err(methods(ALL_METHODS)),
            _ => {}
        }
        if let Some(door) = self.door(request).filter(|_| !is_admin) {
            return Desk::route_upgrade(request, door);
        }
        let route = match request.path() {
            "/metrics" if is_admin || self.config.admin.listen.is_none() => {
                self.check_admin(request).map(|()| Route::Metrics)?
            }
            "/status" if is_admin || self.config.admin.listen.is_none() => {
                self.check_status_page(request).map(|()| Route::Status)?
            }
            "/status.json" if is_admin || self.config.admin.listen.is_none() => {
                self.check_status(request).map(|()| Route::StatusJson)?
            }
            "/healthz" => Route::Healthz,
            "/readyz" => Route::Readyz,
            _ if is_admin => return Err(Answer::error(404, "no such path")),
            "/twilio/incoming" => Route::Incoming,
            "/twilio/after" => Route::After,
            "/twilio/stream-status" => Route::StreamStatus,
            path if let Some(route) = self.carrier_route(path) => route,
            "/calendar.ics" if self.config.appointments.enabled => Route::Calendar,
            "/" if self.config.web.enabled => self.check_reader(request).map(|()| Route::Page)?,
            "/vocaris.js" if self.config.web.enabled => {
                self.check_reader(request).map(|()| Route::Module)?
            }
            _ => return Err(Answer::error(404, "no such path")),
        };
        match request.method {
            Method::Get | Method::Head => Ok(route),
            Method::Post if route.takes_forms() => check_form(request).map(|()| route),
            Method::Options => Err(methods(route.methods())),
            _ => Err(Answer::error(405, "no such method here").with("Allow", route.methods())),
        }
    }

    /// The webhook of a carrier that is served.
    fn carrier_route(&self, path: &str) -> Option<Route> {
        match errand(path) {
            Some((carrier, Errand::Incoming)) if self.serves(carrier) => {
                Some(Route::Carrier(carrier))
            }
            Some((carrier, Errand::After)) if self.serves(carrier) => {
                Some(Route::CarrierAfter(carrier))
            }
            _ => None,
        }
    }

    /// The figures are for those whose address is allowed, and who show the token.
    pub(super) fn check_admin(&self, request: &Request) -> Result<(), Answer> {
        let admin = &self.config.admin;
        if !request.client.is_in(admin.allow.as_ref()) {
            self.shared.http_faults.count("admin_not_allowed");
            return Err(Answer::error(403, "this address is not allowed"));
        }
        match Bearer::judge(bearer_in(request.authorization.as_deref()), &admin.token) {
            Bearer::Good => Ok(()),
            Bearer::Missing => {
                self.shared.http_faults.count("admin_no_token");
                Err(Answer::unauthorized("the figures need a bearer token"))
            }
            Bearer::Wrong => {
                self.shared.http_faults.count("admin_wrong_token");
                Err(Answer::unauthorized("wrong token"))
            }
        }
    }

    /// The page is for those who may talk.
    fn check_reader(&self, request: &Request) -> Result<(), Answer> {
        if request.client.is_in(self.config.web.allow.as_ref()) {
            return Ok(());
        }
        self.shared.http_faults.count("page_not_allowed");
        Err(Answer::error(403, "this address is not allowed"))
    }

    /// A path that only speaks WebSocket, or an upgrade on the page's.
    fn route_upgrade(request: &Request, door: Door) -> Result<Route, Answer> {
        let route = Route::Upgrade(door);
        match request.upgrade {
            Ok(_) => Ok(route),
            Err(_) if request.method == Method::Options => Err(methods(route.methods())),
            Err(fault @ UpgradeError::NotGet) => {
                let answer = Answer::error(fault.status(), fault.label());
                Err(answer.with("Allow", route.methods()))
            }
            Err(fault) => {
                let answer = Answer::error(fault.status(), fault.label());
                let fields = required(fault.status()).iter();
                Err(fields.fold(answer, |answer, &(name, value)| answer.with(name, value)))
            }
        }
    }

    /// Which door a request for a WebSocket comes to; `None` for any other request.
    ///
    /// Strongest sign first: the path, the query where it arrives, the carrier's headers where no
    /// page's `Origin` speaks against them. What is left is decided by the first message, unless
    /// browsers are not served: then it can only be a carrier.
    pub(super) fn door(&self, request: &Request) -> Option<Door> {
        let web = self.config.web.enabled;
        match request.path() {
            path if is_media(path) => return Some(Door::Twilio),
            path if let Some(carrier) = self.media_of(path) => {
                return Some(Door::Carrier(carrier));
            }
            TRACKS if self.config.twilio.both_tracks => return Some(Door::Fork),
            "/web" if web => return Some(Door::Web),
            "/" => {}
            _ => return None,
        }
        // Of any other method an upgrade may be passed over (RFC 9110 section 7.8).
        if matches!(request.upgrade, Err(UpgradeError::NotWebSocket | UpgradeError::NotGet)) {
            return None;
        }
        let has_carriers_headers = request.signature.is_some() || request.is_carriers_client;
        if request.query_has("source=twilio")
            || (has_carriers_headers && request.page_origin.is_none())
        {
            return Some(Door::Twilio);
        }
        match (web, request.page_origin.is_some()) {
            (true, _) => Some(Door::Unknown),
            (false, false) => Some(Door::Twilio),
            (false, true) => None,
        }
    }

    /// The carrier, one that is served, whose streams come to this path; Twilio's are not meant.
    fn media_of(&self, path: &str) -> Option<Carrier> {
        match errand(path) {
            Some((carrier, Errand::Media)) if self.serves(carrier) => Some(carrier),
            _ => None,
        }
    }

    /// What `request` gets, now that its body is whole.
    pub(super) fn respond(
        &mut self,
        now: Nanos,
        route: Route,
        request: &Request,
        body: &[u8],
    ) -> Outcome {
        let answer = match route {
            Route::Incoming => self.incoming(now, request, body),
            Route::After => return self.after(now, request, body),
            Route::StreamStatus => self.stream_status(now, request, body),
            Route::Carrier(carrier) => self.carrier_incoming(now, carrier, request, body),
            Route::CarrierAfter(carrier) => self.carrier_after(now, carrier, request, body),
            Route::Healthz => self.healthz(now),
            // Any page may ask: a browser hides from it why a WebSocket was refused.
            Route::Readyz => self.readyz(now).with("Access-Control-Allow-Origin", "*"),
            Route::Metrics => {
                // The figures tell who is late now, not when the last caller came.
                let _ = self.welcome(now);
                return self.ask_for_figures(|ticket| ControlLetter::Scrape { ticket });
            }
            Route::Status => self.status_page.answer(),
            Route::StatusJson => {
                let _ = self.welcome(now);
                return self.ask_for_figures(|ticket| ControlLetter::Status { ticket });
            }
            Route::Calendar => return self.ask_for_calendar(request),
            Route::Page => self.page.answer(),
            Route::Module => Page::module(),
            Route::Upgrade(door) => return self.upgrade(now, request, door),
        };
        Outcome::Answer(answer)
    }

    fn ask_for_figures(&mut self, letter: impl FnOnce(u64) -> ControlLetter) -> Outcome {
        let ticket = self.next_ticket;
        let control = &self.neighbours.control;
        if self.tickets_waiting == FIGURES_WAITING_MAX || control.post(letter(ticket)).is_err() {
            self.shared.http_faults.count("figures_full");
            return Outcome::Answer(Answer::error(503, "too many figures requests"));
        }
        self.next_ticket += 1;
        self.tickets_waiting += 1;
        Outcome::Figures { ticket }
    }

    /// The calendar is for those who know its token.
    fn ask_for_calendar(&mut self, request: &Request) -> Outcome {
        let refused = |answer| Outcome::Answer(answer);
        let Some(token) = &self.config.appointments.calendar_token else {
            self.shared.http_faults.count("calendar_shut");
            return refused(Answer::error(403, "appointments.calendar_token is not set"));
        };
        match token_of(request) {
            None => {
                self.shared.http_faults.count("calendar_no_token");
                return refused(Answer::unauthorized("the address needs ?token="));
            }
            Some(given) if !is_one_of(&given, [token]) => {
                self.shared.http_faults.count("calendar_wrong_token");
                return refused(Answer::unauthorized("wrong token"));
            }
            Some(_) => {}
        }
        let ticket = self.next_ticket;
        let known = request.if_none_match.clone();
        let letter = CalendarLetter::Ask { ticket, known };
        let calendar = self.neighbours.calendar.as_ref();
        if self.tickets_waiting == FIGURES_WAITING_MAX
            || calendar.is_none_or(|calendar| calendar.post(letter).is_err())
        {
            self.shared.http_faults.count("figures_full");
            return refused(Answer::error(503, "too many requests"));
        }
        self.next_ticket += 1;
        self.tickets_waiting += 1;
        Outcome::Figures { ticket }
    }

    /// The answer to one calendar request, which waits no longer.
    pub(super) fn calendar_answer(&mut self, page: CalendarPage) -> Answer {
        self.tickets_waiting -= 1;
        match page {
            CalendarPage::Text { text, tag } => Answer::calendar(&text, tag),
            CalendarPage::Unchanged { tag } => Answer::not_modified(tag),
            CalendarPage::Unavailable => Answer::error(503, "the appointments cannot be read"),
        }
    }

    /// The answer to one figures request, which waits no longer.
    pub(super) fn figures_answer(&mut self, text: Option<String>) -> Answer {
        self.tickets_waiting -= 1;
        match text {
            Some(text) => {
                Answer::new(200, "text/plain; version=0.0.4; charset=utf-8", text.into_bytes())
            }
            None => Answer::error(503, "the answer did not come in time"),
        }
    }
}

/// The carrier's stream. What some carriers put behind it is one more part, and is not looked at:
/// a token comes with the stream's `start`.
fn is_media(path: &str) -> bool {
    let Some(rest) = path.strip_prefix("/twilio/media") else { return false };
    rest.is_empty() || rest.strip_prefix('/').is_some_and(|part| !part.contains('/'))
}

/// The answer to OPTIONS.
fn methods(allow: &'static str) -> Answer {
    Answer::no_content().with("Allow", allow)
}

/// The token a request brings: in its query, or as a bearer.
fn token_of(request: &Request) -> Option<String> {
    let fields = form::parse(request.query().as_bytes()).ok()?;
    let bearer = bearer_in(request.authorization.as_deref());
    form::value(&fields, "token").or(bearer).map(str::to_owned)
}

/// A body must say that it is a form, or JSON. No body at all is an empty form.
fn check_form(request: &Request) -> Result<(), Answer> {
    match request.content_type.as_deref() {
        Some(FORM | JSON) => Ok(()),
        None if !request.has_body() => Ok(()),
        _ => Err(Answer::error(415, "not application/x-www-form-urlencoded")),
    }
}
