"""Write the GGUF weights of SmolLM2 as the folder that the hub has: `smollm2.py FROM TO`.

The tokenizer within the GGUF file pads with its end-of-sequence token, `<|im_end|>`; the hub's pads
with that too. A profile names another one (`pad_token`), so it is left as it is.
"""

import sys
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def main(source: Path, target: Path) -> None:
    """Convert the one GGUF file below `source`; the file of the weights is written last."""
    gguf_file = next(source.glob("*.gguf")).name
    tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=gguf_file)
    tokenizer.save_pretrained(target)
    found = AutoModelForCausalLM.from_pretrained(source, gguf_file=gguf_file, dtype=torch.float32)
    del found.config.quantization_config  # the weights are dequantised: it speaks of them no longer
    model = type(found)(found.config)
    model.load_state_dict(found.state_dict())
    model.tie_weights()
    model.save_pretrained(target)


if __name__ == "__main__":
    with redirect_stderr(StringIO()):  # the bars of the libraries
        main(Path(sys.argv[1]), Path(sys.argv[2]))
