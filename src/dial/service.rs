//! Google's two services: where each is, how it names a model, what it takes as proof of who asks.
//!
//! | | Developer API | Vertex | Vertex with an express key |
//! |---|---|---|---|
//! | service | `…GenerativeService` | `…LlmBidiService` | as Vertex |
//! | model | `models/M` | `projects/P/locations/L/` and the next | `publishers/google/models/M` |
//! | proof | `x-goog-api-key` | `Authorization: Bearer` | `x-goog-api-key` |
//! | `transparent` | unknown to it | asked for | asked for |
//!
//! In:       the settings.
//! Out:      the parts of the upgrade request and of `setup` that depend on the service.
//! Not here: where the access tokens come from (`dial::tokens`).

use std::borrow::Cow;

use crate::config::{Flavor, Gemini, Secret};
use crate::wire::gemini::{request_target, vertex_model, vertex_target};

/// Where the model is, as the upgrade request says it. The same for every attempt.
#[derive(Debug)]
pub(super) struct Service {
    /// Host, with its port unless it is the scheme's own.
    pub(super) authority: String,
    /// The path.
    pub(super) target: String,
    flavor: Flavor,
    api_key: Option<Secret>,
}

/// What proves who asks. Goes into a header, never into the path: paths are logged by others.
#[derive(Clone, Debug)]
pub(super) enum Credential {
    /// A key.
    Key(Secret),
    /// An access token.
    Token(Secret),
}

impl Credential {
    /// The header field.
    pub(super) fn header(&self) -> (&'static str, Cow<'_, str>) {
        match self {
            Credential::Key(key) => ("x-goog-api-key", key.reveal().into()),
            Credential::Token(token) => {
                ("Authorization", format!("Bearer {}", token.reveal()).into())
            }
        }
    }

    /// What must not be shown.
    pub(super) fn secret(&self) -> &Secret {
        match self {
            Credential::Key(secret) | Credential::Token(secret) => secret,
        }
    }
}

impl Service {
    /// The one in the settings.
    pub(super) fn new(gemini: &Gemini) -> Service {
        let target = match gemini.flavor {
            Flavor::Developer => request_target(&gemini.api_version),
            Flavor::Vertex(_) => vertex_target(&gemini.api_version),
        };
        let (flavor, api_key) = (gemini.flavor.clone(), gemini.api_key.clone());
        Service { authority: gemini.url.authority(), target, flavor, api_key }
    }

    /// The name of `model` in its `setup`.
    pub(super) fn model<'m>(&self, model: &'m str) -> Cow<'m, str> {
        match &self.flavor {
            Flavor::Developer => model.into(),
            Flavor::Vertex(vertex) => {
                // An express key stands for a project of its own.
                let project = vertex.project.as_deref().filter(|_| vertex.tokens.is_some());
                vertex_model(project, &vertex.location, model).into()
            }
        }
    }

    /// Whether its sessions can say which of our messages they hold.
    pub(super) fn is_transparent(&self) -> bool {
        matches!(self.flavor, Flavor::Vertex(_))
    }

    /// The key, where that is the proof.
    pub(super) fn key(&self) -> Option<Credential> {
        self.api_key.clone().map(Credential::Key)
    }
}
