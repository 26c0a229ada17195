//! What each model is told in `setup`: the table of what it takes, field by field.

use serde_json::{Value, json};
use vocaris::config::{Compression, Temperature};
use vocaris::wire::gemini::{
    self, Behavior, Function, Greeting, ModelRules, Resume, Scheduling, Sensitivity, SetupFacts,
    Thinking, ThinkingLevel, Vad,
};

const LIVE_3_8: &str = "models/gemini-3.8-live";
const EXTENDED_THINKING: &str = "models/gemini-3.8-live-extended-thinking";
const LIVE_3_1: &str = "models/gemini-3.1-flash-live-preview";
const NATIVE_2_5: &str = "models/gemini-2.5-flash-native-audio-preview-12-2025";
const NATIVE_2_5_VERTEX: &str =
    "projects/p/locations/us-central1/publishers/google/models/gemini-live-2.5-flash-native-audio";

const MODELS: [&str; 5] = [LIVE_3_8, EXTENDED_THINKING, LIVE_3_1, NATIVE_2_5, NATIVE_2_5_VERTEX];

fn setup(facts: &SetupFacts<'_>) -> Value {
    let message: Value = serde_json::from_str(&gemini::setup_json(facts)).unwrap();
    let message = message.as_object().unwrap();
    assert_eq!(message.len(), 1, "one kind in each message");
    assert_no_null(&message["setup"]);
    message["setup"].clone()
}

fn assert_no_null(value: &Value) {
    match value {
        Value::Null => panic!("a field is left out, never null"),
        Value::Array(items) => items.iter().for_each(assert_no_null),
        Value::Object(members) => members.values().for_each(assert_no_null),
        _ => {}
    }
}

/// A call with everything we can ask for.
fn everything<'a>(model: &'a str, functions: &'a [Function<'a>]) -> SetupFacts<'a> {
    SetupFacts {
        voice: Some("Kore"),
        system: "You are \"the\" receptionist.\nAlways answer.",
        temperature: Some(Temperature(70)),
        thinking: Some(ThinkingLevel::High),
        barge_in: false,
        functions,
        ..SetupFacts::phone_call(model)
    }
}

#[test]
fn the_setup_of_a_phone_call_is_the_documented_one() {
    let parameters =
        json!({"type": "OBJECT", "properties": {"day": {"type": "STRING"}}, "required": ["day"]});
    let facts = SetupFacts {
        voice: Some("Kore"),
        system: "You are the receptionist.",
        functions: &[Function {
            name: "book_appointment",
            description: "books",
            parameters: Some(&parameters),
            behavior: Behavior::NonBlocking,
        }],
        ..SetupFacts::phone_call(LIVE_3_8)
    };
    assert_eq!(
        setup(&facts),
        json!({
            "model": "models/gemini-3.8-live",
            "generationConfig": {
                "responseModalities": ["AUDIO"],
                "speechConfig": {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Kore"}}}
            },
            "systemInstruction": {"parts": [{"text": "You are the receptionist."}]},
            "tools": [{"functionDeclarations": [{
                "name": "book_appointment", "description": "books", "behavior": "NON_BLOCKING",
                "parameters": parameters
            }]}],
            "realtimeInputConfig": {"automaticActivityDetection": {
                "startOfSpeechSensitivity": "START_SENSITIVITY_HIGH",
                "endOfSpeechSensitivity": "END_SENSITIVITY_HIGH",
                "prefixPaddingMs": 20, "silenceDurationMs": 500
            }},
            "sessionResumption": {},
            "contextWindowCompression": {"slidingWindow": {}},
            "inputAudioTranscription": {},
            "outputAudioTranscription": {}
        })
    );
}

#[test]
fn each_model_is_told_a_thinking_level_only_if_it_takes_one() {
    use ThinkingLevel::{High, Low, Medium, Minimal};
    let levels = [None, Some(Minimal), Some(Low), Some(Medium), Some(High)];
    let none = [None; 5];
    for (model, told) in [
        (LIVE_3_8, none),
        (EXTENDED_THINKING, [Some("LOW"), Some("LOW"), Some("LOW"), Some("MEDIUM"), Some("HIGH")]),
        (LIVE_3_1, [None, Some("MINIMAL"), Some("LOW"), Some("MEDIUM"), Some("HIGH")]),
        (NATIVE_2_5, none),
        (NATIVE_2_5_VERTEX, none),
        ("models/gemini-4-live", none),
    ] {
        for (thinking, told) in levels.into_iter().zip(told) {
            let setup = setup(&SetupFacts { thinking, ..SetupFacts::phone_call(model) });
            let config = &setup["generationConfig"];
            match told {
                None => assert_eq!(config.get("thinkingConfig"), None, "{model} {thinking:?}"),
                Some(level) => assert_eq!(
                    config["thinkingConfig"],
                    json!({"thinkingLevel": level}),
                    "{model} {thinking:?}"
                ),
            }
        }
    }
}

#[test]
fn no_model_is_ever_told_a_field_that_some_model_fails_on() {
    let functions =
        [Function { name: "f", description: "d", parameters: None, behavior: Behavior::Blocking }];
    for model in MODELS {
        let setup = setup(&everything(model, &functions));
        let mut names: Vec<_> = setup.as_object().unwrap().keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "contextWindowCompression",
                "generationConfig",
                "inputAudioTranscription",
                "model",
                "outputAudioTranscription",
                "realtimeInputConfig",
                "sessionResumption",
                "systemInstruction",
                "tools",
            ],
            "{model}"
        );
        let config = setup["generationConfig"].as_object().unwrap();
        let thinks = config.contains_key("thinkingConfig");
        let known = ["responseModalities", "speechConfig", "temperature", "thinkingConfig"];
        assert!(config.keys().all(|name| known.contains(&name.as_str())), "{model}");
        assert_eq!(config["responseModalities"], json!(["AUDIO"]));
        assert_eq!(thinks, [EXTENDED_THINKING, LIVE_3_1].contains(&model), "{model}");
        let speech = config["speechConfig"].as_object().unwrap();
        assert_eq!(speech.len(), 1, "a language is steered in the system text: {model}");
    }
}

#[test]
fn functions_always_state_their_behavior() {
    let parameters = json!({"type": "OBJECT", "properties": {"day": {"type": "STRING"}}});
    let function = |behavior| Function {
        name: "f",
        description: "d",
        parameters: Some(&parameters),
        behavior,
    };
    let functions = [function(Behavior::Blocking), function(Behavior::NonBlocking)];
    for model in MODELS {
        let setup = setup(&everything(model, &functions));
        let declared = setup["tools"][0]["functionDeclarations"].as_array().unwrap();
        let behaviors: Vec<_> = declared.iter().map(|f| f["behavior"].as_str().unwrap()).collect();
        let first = if model == EXTENDED_THINKING { "NON_BLOCKING" } else { "BLOCKING" };
        assert_eq!(behaviors, [first, "NON_BLOCKING"], "{model}");
        assert!(declared.iter().all(|function| function["parameters"] == parameters));
    }
    let none = setup(&SetupFacts::phone_call(LIVE_3_8));
    assert_eq!(none.get("tools"), None, "an empty list is left out");
}

#[test]
fn a_session_is_resumed_by_its_handle_and_otherwise_the_setup_is_the_same() {
    let with = |resume| setup(&SetupFacts { resume, ..SetupFacts::phone_call(LIVE_3_8) });
    let fresh = with(Resume::Fresh);
    assert_eq!(fresh["sessionResumption"], json!({}), "an empty object switches it on");
    let mut resumed = with(Resume::Handle("h\"1"));
    assert_eq!(resumed["sessionResumption"], json!({"handle": "h\"1"}));
    resumed["sessionResumption"] = json!({});
    assert_eq!(resumed, fresh);
    let mut off = with(Resume::Off);
    assert_eq!(off.get("sessionResumption"), None);
    off["sessionResumption"] = json!({});
    assert_eq!(off, fresh);
}

#[test]
fn every_switch_moves_its_own_field() {
    let facts = SetupFacts::phone_call(LIVE_3_8);
    let plain = setup(&facts);
    assert_eq!(plain.get("systemInstruction"), None);
    assert_eq!(plain["generationConfig"], json!({"responseModalities": ["AUDIO"]}));
    let without = setup(&SetupFacts { compression: None, transcripts: false, ..facts });
    for field in ["contextWindowCompression", "inputAudioTranscription", "outputAudioTranscription"]
    {
        assert!(plain[field].is_object());
        assert_eq!(without.get(field), None);
    }
    let deaf = setup(&SetupFacts { barge_in: false, ..facts });
    assert_eq!(deaf["realtimeInputConfig"]["activityHandling"], "NO_INTERRUPTION");
    assert_eq!(plain["realtimeInputConfig"].get("activityHandling"), None);
    let vad = Vad {
        start: Some(Sensitivity::Low),
        end: Some(Sensitivity::Low),
        prefix_padding_ms: Some(300),
        silence_ms: Some(800),
    };
    let slow = setup(&SetupFacts { vad, ..facts });
    assert_eq!(
        slow["realtimeInputConfig"],
        json!({"automaticActivityDetection": {
            "startOfSpeechSensitivity": "START_SENSITIVITY_LOW",
            "endOfSpeechSensitivity": "END_SENSITIVITY_LOW",
            "prefixPaddingMs": 300, "silenceDurationMs": 800
        }})
    );
}

#[test]
fn a_bare_model_name_gets_its_collection() {
    for (model, told) in [
        ("gemini-3.8-live", "models/gemini-3.8-live"),
        (LIVE_3_8, LIVE_3_8),
        (NATIVE_2_5_VERTEX, NATIVE_2_5_VERTEX),
        ("publishers/google/models/gemini-3.8-live", "publishers/google/models/gemini-3.8-live"),
    ] {
        assert_eq!(setup(&SetupFacts::phone_call(model))["model"], told);
    }
}

#[test]
fn the_rules_of_a_model_do_not_depend_on_how_it_is_spelled() {
    for model in MODELS {
        let name = model.rsplit('/').next().unwrap();
        let rules = ModelRules::of(model);
        for prefix in ["", "models/", "publishers/google/models/", "projects/a-2.5/locations/b/x/"]
        {
            assert_eq!(ModelRules::of(&format!("{prefix}{name}")), rules, "{prefix}{name}");
        }
    }
    assert_eq!(ModelRules::of("gemini-2.5-flash-native-audio-latest"), ModelRules::of(NATIVE_2_5));
    assert_eq!(ModelRules::of(""), ModelRules::of(LIVE_3_8));
}

#[test]
fn each_model_is_asked_to_speak_first_in_the_way_it_takes() {
    for model in MODELS {
        let message: Value =
            serde_json::from_str(&gemini::greeting_json(model, "Greet \"them\".")).unwrap();
        let expected = if model == LIVE_3_1 {
            assert_eq!(ModelRules::of(model).greeting, Greeting::RealtimeText);
            json!({"realtimeInput": {"text": "Greet \"them\"."}})
        } else {
            let turn = json!({"role": "user", "parts": [{"text": "Greet \"them\"."}]});
            json!({"clientContent": {"turns": [turn], "turnComplete": true}})
        };
        assert_eq!(message, expected, "{model}");
    }
    assert_eq!(ModelRules::of(EXTENDED_THINKING).thinking, Thinking::Required);
    assert!(!ModelRules::of(EXTENDED_THINKING).scheduling);
}

#[test]
fn the_answer_of_a_function_carries_its_id_and_either_output_or_error() {
    let answer = |message: String| -> Value {
        let message: Value = serde_json::from_str(&message).unwrap();
        let answers = message["toolResponse"]["functionResponses"].as_array().unwrap().clone();
        assert_eq!(answers.len(), 1);
        answers[0].clone()
    };
    assert_eq!(
        answer(gemini::tool_error_json(Some("fc-1"), "book", "no \"such\" tool")),
        json!({"id": "fc-1", "name": "book", "response": {"error": "no \"such\" tool"}})
    );
    assert_eq!(
        answer(gemini::tool_error_json(None, "book", "")),
        json!({"name": "book", "response": {"error": ""}})
    );
    let output = json!({"free": ["09:00"]});
    assert_eq!(
        answer(gemini::tool_output_json(Some("a"), "f", &output, None)),
        json!({"id": "a", "name": "f", "response": {"output": output}})
    );
    for (scheduling, word) in [
        (Scheduling::Silent, "SILENT"),
        (Scheduling::WhenIdle, "WHEN_IDLE"),
        (Scheduling::Interrupt, "INTERRUPT"),
    ] {
        let message = gemini::tool_output_json(Some("a"), "f", &output, Some(scheduling));
        assert_eq!(answer(message)["scheduling"], word);
    }
}

#[test]
fn an_answer_too_long_for_the_model_becomes_an_error() {
    let long = json!("x".repeat(gemini::TOOL_RESPONSE_BYTES_MAX));
    let message = gemini::tool_output_json(Some("a"), "f", &long, None);
    assert!(message.len() <= gemini::TOOL_RESPONSE_BYTES_MAX);
    let message: Value = serde_json::from_str(&message).unwrap();
    assert!(message.pointer("/toolResponse/functionResponses/0/response/error").is_some());
}

#[test]
fn the_request_goes_to_one_path_per_version() {
    assert_eq!(
        gemini::request_target("v1beta"),
        "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
    );
}

/// One row a model, one column what it is told when asked for everything: the sheet of what each
/// takes.
#[test]
fn the_table_of_what_each_model_is_told() {
    let row = |model: &str| {
        let functions = [Function {
            name: "f",
            description: "d",
            parameters: None,
            behavior: Behavior::Blocking,
        }];
        let setup = setup(&SetupFacts { transparent: true, ..everything(model, &functions) });
        let at = |path: &str| setup.pointer(path).map_or("-".to_owned(), Value::to_string);
        let rules = ModelRules::of(model);
        [
            at("/generationConfig/responseModalities"),
            at("/generationConfig/temperature"),
            at("/generationConfig/thinkingConfig"),
            at("/generationConfig/enableAffectiveDialog"),
            at("/generationConfig/speechConfig/languageCode"),
            at("/proactivity"),
            at("/tools/0/functionDeclarations/0/behavior"),
            at("/contextWindowCompression"),
            at("/sessionResumption"),
            format!("{:?}", rules.greeting),
            format!("{} {}", rules.scheduling, rules.silence),
        ]
    };
    let level = r#"{"thinkingLevel":"HIGH"}"#;
    let (audio, window) = (r#"["AUDIO"]"#, r#"{"slidingWindow":{}}"#);
    let transparent = r#"{"transparent":true}"#;
    for (model, thinking, behavior, greeting, rest) in [
        (LIVE_3_8, "-", "\"BLOCKING\"", "ClientContent", "true true"),
        (EXTENDED_THINKING, level, "\"NON_BLOCKING\"", "ClientContent", "false true"),
        (LIVE_3_1, level, "\"BLOCKING\"", "RealtimeText", "true false"),
        (NATIVE_2_5, "-", "\"BLOCKING\"", "ClientContent", "true true"),
        (NATIVE_2_5_VERTEX, "-", "\"BLOCKING\"", "ClientContent", "true true"),
    ] {
        let (none, warm) = ("-", "0.7");
        let expected = [
            audio,
            warm,
            thinking,
            none,
            none,
            none,
            behavior,
            window,
            transparent,
            greeting,
            rest,
        ];
        assert_eq!(row(model), expected, "{model}");
    }
}

#[test]
fn compression_and_transparency_are_told_as_they_are_set() {
    let facts = SetupFacts::phone_call(LIVE_3_8);
    let told = |trigger_tokens, target_tokens| {
        let compression = Some(Compression { trigger_tokens, target_tokens });
        setup(&SetupFacts { compression, ..facts })["contextWindowCompression"].clone()
    };
    assert_eq!(told(None, None), json!({"slidingWindow": {}}));
    assert_eq!(told(Some(9), None), json!({"triggerTokens": 9, "slidingWindow": {}}));
    let both = json!({"triggerTokens": 9, "slidingWindow": {"targetTokens": 5}});
    assert_eq!(told(Some(9), Some(5)), both);
    let with = |resume| {
        setup(&SetupFacts { resume, transparent: true, ..facts }).get("sessionResumption").cloned()
    };
    assert_eq!(with(Resume::Off), None);
    assert_eq!(with(Resume::Fresh), Some(json!({"transparent": true})));
    let resumed = json!({"handle": "h", "transparent": true});
    assert_eq!(with(Resume::Handle("h")), Some(resumed));
}

#[test]
fn vertex_has_its_own_path_and_names() {
    assert_eq!(
        gemini::vertex_target("v1beta1"),
        "/ws/google.cloud.aiplatform.v1beta1.LlmBidiService/BidiGenerateContent"
    );
    let name = |project| gemini::vertex_model(project, "us-central1", LIVE_3_8);
    assert_eq!(
        name(Some("p")),
        "projects/p/locations/us-central1/publishers/google/models/gemini-3.8-live"
    );
    assert_eq!(name(None), "publishers/google/models/gemini-3.8-live");
}
