//! `cc-wasm-bindings FILE.wasm FOLDER`: a module for Node in that folder.

use std::{env, process::ExitCode};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [file, folder] = arguments.as_slice() else {
        eprintln!("usage: cc-wasm-bindings FILE.wasm FOLDER");
        return ExitCode::FAILURE;
    };
    let mut bindings = wasm_bindgen_cli_support::Bindgen::new();
    let made = bindings
        .input_path(file)
        .nodejs(true)
        .and_then(|bindings| bindings.typescript(false).generate(folder));
    match made {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:?}");
            ExitCode::FAILURE
        }
    }
}
