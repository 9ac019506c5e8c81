use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::testing::any_json;

#[track_caller]
fn becomes(value: Value, operations: Value, want: Value) {
    let patch = Patch::parse(operations).expect("a good patch");
    assert_eq!(patch.apply(&value), Ok(want));
}

/// Checks that a patch fails at the operation with this number, and says this.
#[track_caller]
fn fails(value: Value, operations: Value, want: &str) {
    let failed = Patch::parse(operations).and_then(|patch| patch.apply(&value));
    assert_eq!(failed.map_err(|error| error.to_string()), Err(want.to_owned()));
}

#[test]
fn every_operation_does_what_rfc_6902_says_a186_c176() {
    becomes(json!({ "a": 1 }), json!([{ "op": "add", "path": "/b", "value": 2 }]), json!({ "a": 1, "b": 2 }));
    becomes(json!({ "a": 1 }), json!([{ "op": "add", "path": "/a", "value": null }]), json!({ "a": null }));
    becomes(json!([1, 3]), json!([{ "op": "add", "path": "/1", "value": 2 }]), json!([1, 2, 3]));
    becomes(json!([1]), json!([{ "op": "add", "path": "/-", "value": 2 }]), json!([1, 2]));
    becomes(json!([1, 2]), json!([{ "op": "remove", "path": "/0" }]), json!([2]));
    becomes(json!({ "a": 1 }), json!([{ "op": "replace", "path": "/a", "value": [] }]), json!({ "a": [] }));
    becomes(
        json!({ "a": { "b": 1 } }),
        json!([{ "op": "move", "from": "/a/b", "path": "/c" }]),
        json!({ "a": {}, "c": 1 }),
    );
    becomes(json!({ "a": [1] }), json!([{ "op": "copy", "from": "/a", "path": "/a/-" }]), json!({ "a": [1, [1]] }));
    becomes(json!({ "a": 1 }), json!([{ "op": "test", "path": "/a", "value": 1 }]), json!({ "a": 1 }));
    becomes(json!({ "a": 1 }), json!([]), json!({ "a": 1 }));
}

#[test]
fn the_empty_pointer_is_the_whole_value_a186() {
    becomes(json!({ "a": 1 }), json!([{ "op": "replace", "path": "", "value": 7 }]), json!(7));
    becomes(json!({ "a": 1 }), json!([{ "op": "add", "path": "", "value": [] }]), json!([]));
    becomes(json!({ "a": 1 }), json!([{ "op": "test", "path": "", "value": { "a": 1 } }]), json!({ "a": 1 }));
    becomes(json!({ "a": [2] }), json!([{ "op": "copy", "from": "/a", "path": "" }]), json!([2]));
    becomes(json!({ "a": [2] }), json!([{ "op": "move", "from": "/a", "path": "" }]), json!([2]));
}

#[test]
fn escapes_are_undone_tilde_one_first_a186() {
    becomes(json!({ "a/b": 1 }), json!([{ "op": "remove", "path": "/a~1b" }]), json!({}));
    becomes(json!({ "a~b": 1 }), json!([{ "op": "remove", "path": "/a~0b" }]), json!({}));
    becomes(json!({ "~1": 1 }), json!([{ "op": "remove", "path": "/~01" }]), json!({}));
    becomes(json!({ "": 1 }), json!([{ "op": "remove", "path": "/" }]), json!({}));
}

#[test]
fn test_compares_as_json_does_a186_c178() {
    let same =
        |one: Value, other: Value| becomes(one.clone(), json!([{ "op": "test", "path": "", "value": other }]), one);

    same(json!({ "a": 1, "b": [{}] }), json!({ "b": [{}], "a": 1 }));
    same(json!(1), json!(1.0));
    same(json!([1.0]), json!([1]));
    fails(json!(1), json!([{ "op": "test", "path": "", "value": "1" }]), "operation 0 at ``: the value is another");
    fails(
        json!({ "a": 1 }),
        json!([{ "op": "test", "path": "", "value": {} }]),
        "operation 0 at ``: the value is another",
    );
    let (big, next) = (json!(9_007_199_254_740_993_u64), json!(9_007_199_254_740_992_u64));
    fails(big, json!([{ "op": "test", "path": "", "value": next }]), "operation 0 at ``: the value is another");
}

#[test]
fn whatever_does_not_fit_is_an_error_and_never_mended_a186_c178() {
    let value = || json!({ "a": [1], "b": 2 });
    for (operation, why) in [
        (json!({ "op": "remove", "path": "/c" }), "path is invalid"),
        (json!({ "op": "replace", "path": "/c", "value": 1 }), "path is invalid"),
        (json!({ "op": "test", "path": "/c", "value": 1 }), "there is no value"),
        (json!({ "op": "add", "path": "/c/d", "value": 1 }), "path is invalid"),
        (json!({ "op": "add", "path": "/b/d", "value": 1 }), "path is invalid"),
        (json!({ "op": "add", "path": "/a/2", "value": 1 }), "path is invalid"),
        (json!({ "op": "add", "path": "/a/01", "value": 1 }), "path is invalid"),
        (json!({ "op": "add", "path": "/a/x", "value": 1 }), "path is invalid"),
        (json!({ "op": "replace", "path": "/a/-", "value": 1 }), "path is invalid"),
        (json!({ "op": "remove", "path": "/a/-" }), "path is invalid"),
        (json!({ "op": "remove", "path": "" }), "path is invalid"),
        (json!({ "op": "copy", "from": "/c", "path": "/d" }), "\"from\" path is invalid"),
        (json!({ "op": "move", "from": "/c", "path": "/d" }), "\"from\" path is invalid"),
        (json!({ "op": "move", "from": "/a", "path": "/a/0" }), "cannot move the value inside itself"),
    ] {
        let path = operation["path"].as_str().unwrap().to_owned();
        let operations = json!([{ "op": "replace", "path": "/b", "value": 3 }, operation]);
        fails(value(), operations, &format!("operation 1 at `{path}`: {why}"));
    }
}

#[test]
fn what_is_no_patch_is_refused_by_the_parser_a186() {
    for (operations, want) in [
        (json!([{ "op": "remove", "path": "a" }]), "operation 0: `a` is no JSON pointer"),
        (json!([{ "op": "remove", "path": "/~2" }]), "operation 0: `/~2` is no JSON pointer"),
        (json!([{ "op": "copy", "from": "x", "path": "/a" }]), "operation 0: `x` is no JSON pointer"),
        (json!([{ "op": "add", "path": "/a" }]), "not a JSON patch: missing field `value`"),
    ] {
        fails(json!({}), operations, want);
    }
    assert!(matches!(Patch::parse(json!([{ "op": "spin", "path": "/a" }])), Err(PatchError::Malformed(_))));
    assert!(matches!(Patch::parse(json!({ "op": "remove", "path": "/a" })), Err(PatchError::Malformed(_))));
}

/// Every operation with a forbidden segment somewhere, and the segment.
fn forbidden() -> Vec<(PatchOperation, &'static str)> {
    let mut all = Vec::new();
    for segment in FORBIDDEN {
        for path in [format!("/{segment}"), format!("/a/{segment}/b"), format!("/a/0/{segment}")] {
            let (a, value) = ("/a".to_owned(), json!(1));
            all.extend(
                [
                    PatchOperation::Add { path: path.clone(), value: value.clone() },
                    PatchOperation::Remove { path: path.clone() },
                    PatchOperation::Replace { path: path.clone(), value: value.clone() },
                    PatchOperation::Move { from: path.clone(), path: a.clone() },
                    PatchOperation::Move { from: a.clone(), path: path.clone() },
                    PatchOperation::Copy { from: path.clone(), path: a.clone() },
                    PatchOperation::Copy { from: a, path: path.clone() },
                    PatchOperation::Test { path, value },
                ]
                .map(|operation| (operation, segment)),
            );
        }
    }
    all
}

#[test]
fn forbidden_segments_are_refused_by_the_parser_af12_c177_cr27() {
    for (operation, segment) in forbidden() {
        let operations = json!([{ "op": "test", "path": "", "value": null }, operation]);
        let want = PatchError::Forbidden { operation: 1, segment: segment.to_owned() };
        assert_eq!(Patch::parse(operations), Err(want), "{operation:?}");
    }
}

#[test]
fn forbidden_segments_are_refused_again_where_keys_are_assigned_af12_c177() {
    // A value that already has such keys, so that nothing but the guard stands in the way.
    let value = json!({ "a": [{ "__proto__": 1, "constructor": 1, "prototype": 1 }],
        "__proto__": 1, "constructor": 1, "prototype": 1 });
    for (operation, segment) in forbidden() {
        let refused = Patch(vec![operation.clone()]).apply(&value);
        assert_eq!(refused, Err(PatchError::Forbidden { operation: 0, segment: segment.to_owned() }), "{operation:?}");
    }
}

#[test]
fn keys_that_only_resemble_a_forbidden_one_are_keys_like_any_other_a186() {
    for key in ["proto", "_proto_", "Constructor", "prototype2", "__proto~1__", "__pro~0to__"] {
        let patch = Patch::parse(json!([{ "op": "add", "path": format!("/{key}"), "value": 1 }])).unwrap();
        assert!(patch.apply(&json!({})).is_ok(), "{key}");
    }
}

#[test]
fn a_value_cannot_be_copied_past_its_bounds_a186() {
    let doubling =
        (0..64).fold(Patch::new().add("", json!({ "a": "seed" })), |patch, at| patch.copy("", format!("/{at}")));
    assert_eq!(doubling.apply(&json!(null)), Err(PatchError::TooLarge));

    let nesting = (0..200).fold(Patch::new(), |patch, _| patch.copy("", "/a"));
    assert_eq!(nesting.apply(&json!({})), Err(PatchError::TooDeep));

    let many = (0..=MAX_PATCH_OPERATIONS).fold(Patch::new(), |patch, _| patch.test("", json!(1)));
    let want = PatchError::TooManyOperations { n_operations: MAX_PATCH_OPERATIONS + 1 };
    assert_eq!(many.apply(&json!(1)), Err(want));

    // Far more is written than the bound, but never much is there at once.
    let turnover = (0..100).fold(Patch::new(), |patch, _| patch.replace("", json!("x".repeat(100_000))));
    assert!(turnover.apply(&json!(null)).is_ok());
}

#[test]
fn a_store_takes_values_up_to_its_bounds_a186() {
    let nested = |levels: usize| (0..levels).fold(json!(0), |inner, _| json!([inner]));

    assert_eq!(check_store_value(&nested(MAX_STORE_DEPTH)), Ok(()));
    assert_eq!(check_store_value(&nested(MAX_STORE_DEPTH + 1)), Err(PatchError::TooDeep));
    assert_eq!(check_store_value(&json!("x".repeat(MAX_STORE_BYTES - 2))), Ok(()));
    assert_eq!(check_store_value(&json!("x".repeat(MAX_STORE_BYTES - 1))), Err(PatchError::TooLarge));
    let deeper = Patch::new().add("/0", nested(MAX_STORE_DEPTH));
    assert_eq!(deeper.apply(&json!([])), Err(PatchError::TooDeep));
    assert!(Patch::new().add("/0", nested(MAX_STORE_DEPTH - 1)).apply(&json!([])).is_ok());
}

/// Makes any operation, most of which fit nothing.
fn any_operation() -> impl Strategy<Value = PatchOperation> {
    let pointer = || prop_oneof![Just(String::new()), "(/([abc]|[0-2]|-)){1,3}"];
    prop_oneof![
        (pointer(), any_json()).prop_map(|(path, value)| PatchOperation::Add { path, value }),
        pointer().prop_map(|path| PatchOperation::Remove { path }),
        (pointer(), any_json()).prop_map(|(path, value)| PatchOperation::Replace { path, value }),
        (pointer(), pointer()).prop_map(|(from, path)| PatchOperation::Move { from, path }),
        (pointer(), pointer()).prop_map(|(from, path)| PatchOperation::Copy { from, path }),
        (pointer(), any_json()).prop_map(|(path, value)| PatchOperation::Test { path, value }),
    ]
}

proptest! {
    #[test]
    fn a_patch_is_its_operations_one_by_one_and_all_or_none_a186(
        value in any_json(),
        operations in prop::collection::vec(any_operation(), 0..6),
    ) {
        let one_by_one =
            operations.iter().try_fold(value.clone(), |value, operation| Patch(vec![operation.clone()]).apply(&value));

        let whole = Patch(operations.clone()).apply(&value);

        prop_assert_eq!(whole.as_ref().ok(), one_by_one.as_ref().ok());
        if let Err(PatchError::Failed { operation, .. }) = whole {
            let before = Patch(operations[..operation].to_vec()).apply(&value);
            prop_assert!(before.is_ok(), "the named operation is the first that fails");
        }
    }

    #[test]
    fn a_patch_survives_its_way_over_the_wire_a186(operations in prop::collection::vec(any_operation(), 0..6)) {
        let patch = Patch(operations);

        let wire = serde_json::to_value(&patch).unwrap();

        prop_assert_eq!(Patch::parse(wire), Ok(patch));
    }

    #[test]
    fn what_is_added_is_there_and_removing_it_undoes_it_a186(value in any_json(), added in any_json()) {
        let value = json!({ "kept": value });

        let with = Patch::new().add("/new", added.clone()).apply(&value).unwrap();

        prop_assert_eq!(with.pointer("/new"), Some(&added));
        prop_assert_eq!(Patch::new().remove("/new").apply(&with), Ok(value));
    }
}
