//! What is wrong with a value, in words: where, what, and what was expected.

use jsonschema::error::{TypeKind, ValidationErrorKind as Kind};
use jsonschema::paths::{Location, LocationSegment};
use jsonschema::{JsonType, ValidationError};
use serde_json::Value;

/// How many things wrong with one value are told; more would be read by nobody.
const MAX_TOLD: usize = 5;

/// How many allowed values or types are listed.
const MAX_LISTED: usize = 20;

/// How long, in characters, a piece of the schema or the value may be where it is quoted.
const MAX_QUOTED: usize = 200;

/// Tells the first errors of a value that is called `name`.
pub(super) fn tell<'a>(errors: impl IntoIterator<Item = ValidationError<'a>>, name: &str) -> String {
    let mut told: Vec<String> = errors.into_iter().flat_map(|error| lines(&error, name)).take(MAX_TOLD + 1).collect();
    if told.len() > MAX_TOLD {
        told[MAX_TOLD] = "and more".to_owned();
    }
    told.join("; ")
}

/// Tells one error; where shapes are to choose from, the errors of the one that was meant.
fn lines(error: &ValidationError<'_>, name: &str) -> Vec<String> {
    let at = place(error.instance_path(), name);
    match error.kind() {
        Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
            unexpected.iter().take(MAX_TOLD + 1).map(|key| format!("{at}.{} is not allowed", cut(key))).collect()
        }
        // An object that may have no field is said to be what its first field would have to be.
        Kind::FalseSchema if error.schema_path().segments().last() == Some("additionalProperties".into()) => {
            vec![format!("{at} may have no fields")]
        }
        Kind::AnyOf { context } | Kind::OneOfNotValid { context } => choice(error, context, name),
        Kind::PropertyNames { error } => {
            let wrong = lines(error, "it");
            vec![format!("{at} has a field with a bad name {}: {}", quoted(error.instance()), wrong.join("; "))]
        }
        kind => vec![format!("{at}{}", wrong(kind, error))],
    }
}

/// Says what is wrong with a value, to be put behind its place.
fn wrong(kind: &Kind, error: &ValidationError<'_>) -> String {
    match kind {
        Kind::Required { property } => format!(".{} is missing", cut(property.as_str().unwrap_or_default())),
        Kind::Type { kind } => not_of_type(types(kind)),
        Kind::Enum { options } => none_of(options.as_array().into_iter().flatten()),
        Kind::Constant { expected_value } => format!(" is not {}", quoted(expected_value)),
        Kind::FalseSchema => " is not allowed".to_owned(),
        Kind::Minimum { limit } => format!(" is less than {limit}"),
        Kind::Maximum { limit } => format!(" is more than {limit}"),
        Kind::ExclusiveMinimum { limit } => format!(" is not more than {limit}"),
        Kind::ExclusiveMaximum { limit } => format!(" is not less than {limit}"),
        Kind::MultipleOf { multiple_of } => format!(" is not a multiple of {multiple_of}"),
        Kind::MinLength { limit } => format!(" has fewer than {limit} characters"),
        Kind::MaxLength { limit } => format!(" has more than {limit} characters"),
        Kind::MinItems { limit } => format!(" has fewer than {limit} items"),
        Kind::MaxItems { limit } => format!(" has more than {limit} items"),
        Kind::AdditionalItems { limit } => format!(" has more than {limit} items"),
        Kind::MinProperties { limit } => format!(" has fewer than {limit} fields"),
        Kind::MaxProperties { limit } => format!(" has more than {limit} fields"),
        Kind::UniqueItems => " has the same item twice".to_owned(),
        Kind::Contains => " has no item, or too many, of the kind that it must contain".to_owned(),
        Kind::Format { format } => format!(" is not of the format {format:?}"),
        Kind::Pattern { pattern } => format!(" does not match the pattern {:?}", cut(pattern)),
        Kind::Not { schema } => format!(" must not be what this says: {}", quoted(schema)),
        Kind::OneOfMultipleValid { .. } => " fits more than one of the shapes of which it must fit one".to_owned(),
        _ => format!(": {}", cut(&error.masked().to_string())),
    }
}

/// Tells the errors of one of several shapes: the one that was meant, if that can be told, else what all of them miss.
fn choice(error: &ValidationError<'_>, shapes: &[Vec<ValidationError<'_>>], name: &str) -> Vec<String> {
    let root = error.instance_path();
    let at = place(root, name);
    let of_types: Vec<Vec<JsonType>> = shapes.iter().filter_map(|shape| root_types(shape, root)).collect();
    if !shapes.is_empty() && of_types.len() == shapes.len() {
        return vec![format!("{at}{}", not_of_type(of_types.into_iter().flatten()))];
    }
    if let Some((tag, values)) = common_tag(shapes) {
        return vec![format!("{}{}", place(tag, name), none_of(values))];
    }
    let meant = shapes.iter().enumerate().min_by_key(|(index, shape)| {
        let depth = shape.iter().map(|error| error.instance_path().iter().count()).max();
        let has_other_tag = shape.iter().any(|error| error.instance_path() != root && tag_of(error).is_some());
        // Of the right type, with the right tag, right as deep down as possible, with the fewest mistakes, first in the list.
        (root_types(shape, root).is_some(), has_other_tag, std::cmp::Reverse(depth), shape.len(), *index)
    });
    match meant {
        Some((_, shape)) => shape.iter().flat_map(|error| lines(error, name)).collect(),
        None => vec![format!("{at} fits none of the shapes that are allowed")],
    }
}

/// Gives the types that a shape wants, if the value's type is what is wrong with it.
fn root_types(shape: &[ValidationError<'_>], root: &Location) -> Option<Vec<JsonType>> {
    shape.iter().filter(|error| error.instance_path() == root).find_map(|error| match error.kind() {
        Kind::Type { kind } => Some(types(kind)),
        _ => None,
    })
}

/// Gives the place that every shape wants another value at, and those values: what tells the shapes apart.
fn common_tag<'a>(shapes: &'a [Vec<ValidationError<'_>>]) -> Option<(&'a Location, Vec<&'a Value>)> {
    let tags = |shape: &'a Vec<ValidationError<'_>>| {
        shape.iter().filter_map(|error| Some((error.instance_path(), tag_of(error)?)))
    };
    let (first, _) = tags(shapes.first()?).next()?;
    let mut values = Vec::new();
    for shape in shapes {
        let (_, own) = tags(shape).find(|(place, _)| *place == first)?;
        values.extend(own);
    }
    Some((first, values))
}

/// Gives the values that an error wants one of.
fn tag_of<'a>(error: &'a ValidationError<'_>) -> Option<Vec<&'a Value>> {
    match error.kind() {
        Kind::Constant { expected_value } => Some(vec![expected_value]),
        Kind::Enum { options } => Some(options.as_array()?.iter().collect()),
        _ => None,
    }
}

fn types(kind: &TypeKind) -> Vec<JsonType> {
    match kind {
        TypeKind::Single(one) => vec![*one],
        TypeKind::Multiple(several) => several.iter().collect(),
    }
}

fn not_of_type(types: impl IntoIterator<Item = JsonType>) -> String {
    let mut names: Vec<String> = Vec::new();
    for name in types.into_iter().map(|one| format!("\"{one}\"")) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    format!(" is not of type {}", names.join(" or "))
}

fn none_of<'a>(values: impl IntoIterator<Item = &'a Value>) -> String {
    let mut listed: Vec<String> = values.into_iter().take(MAX_LISTED + 1).map(quoted).collect();
    if let [only] = &listed[..] {
        return format!(" is not {only}");
    }
    if listed.len() > MAX_LISTED {
        listed[MAX_LISTED] = "…".to_owned();
    }
    format!(" is none of the allowed values {}", listed.join(", "))
}

/// Names a place inside a value: `input.days[1]`.
fn place(path: &Location, name: &str) -> String {
    let mut place = name.to_owned();
    for segment in path {
        match segment {
            LocationSegment::Property(key) => place.push_str(&format!(".{}", cut(&key))),
            LocationSegment::Index(index) => place.push_str(&format!("[{index}]")),
        }
    }
    place
}

fn quoted(value: &Value) -> String {
    cut(&value.to_string())
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_QUOTED) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
