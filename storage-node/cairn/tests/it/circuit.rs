//! `cairn circuit` through the real binary.

use crate::support::cairn;
use serde_json::json;

#[test]
fn a_circuit_in_numbers() {
    let vector =
        cairn_fixtures::r1cs_vectors().into_iter().find(|vector| vector.circuit == "window-post-2048").unwrap();
    let arguments = ["circuit", "info", "--circuit", "window-post", "--sector-size", "2KiB", "--json"];
    let report = cairn(arguments).json();
    let expected = json!({
        "circuit": "window-post",
        "sector_size": 2048,
        "num_inputs_with_one": vector.num_inputs_with_one,
        "num_aux": vector.num_aux,
        "num_constraints": vector.num_constraints,
        "nnz": vector.nnz,
        "r1cs_sha256": vector.r1cs_sha256,
    });
    assert_eq!(report, expected);
    let chunks = cairn(arguments.into_iter().chain(["--chunks"])).json();
    assert_eq!(chunks["chunk_digests"], json!(vector.chunk_digests));
    let input = json!([0, 3, "input 1 = sector_0/comm_r_input/input variable"]);
    assert!(chunks["marks"].as_array().unwrap().contains(&input), "{}", chunks["marks"]);
}

#[test]
fn an_unknown_circuit_is_named() {
    let ran = cairn(["circuit", "info", "--circuit", "pos", "--sector-size", "2KiB"]);
    let expected = "cairn: invalid value 'pos' for '--circuit <CIRCUIT>': \
                    expected a circuit of porep, winning-post, window-post, update, got \"pos\"";
    assert_eq!(ran.failure(), expected);
}
