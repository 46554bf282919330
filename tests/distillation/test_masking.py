"""What a student reads in the place of the text."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, RobertaConfig

from babyllama.distillation.masking import BLANK, check_blanks_keep_places, masked_inputs
from babyllama.errors import RecipeError
from babyllama.tokens.batches import Batch, make_batch
from babyllama.tokens.tokenizer import load_tokenizer, save_tokenizer, train_tokenizer
from tiny_jobs import new_model

LENGTH = 32
IDS = np.arange(3, 3 + 64 * LENGTH).astype(np.uint16)


def batch(*starts: int) -> Batch:
    return make_batch(IDS, np.asarray(starts or [LENGTH * n for n in range(64)]), LENGTH, "train")


def test_the_share_is_blanked_and_the_rest_is_the_text() -> None:
    given = batch()
    ids = masked_inputs(given, 0.3, seed=1, step=4)
    blank = ids == BLANK
    assert torch.equal(ids[~blank], given.input_ids[~blank])
    assert float(blank[:, 1:].float().mean()) == pytest.approx(0.3, abs=0.03)
    # Each place by itself: about as often behind a blank as anywhere.
    assert float(blank[:, 2:][blank[:, 1:-1]].float().mean()) == pytest.approx(0.3, abs=0.05)


def test_the_batch_itself_stays_as_it_is() -> None:
    given = batch()
    before = given.input_ids.clone(), given.labels.clone()
    masked_inputs(given, 0.9, seed=1, step=0)
    assert torch.equal(given.input_ids, before[0])
    assert torch.equal(given.labels, before[1])


def test_the_first_of_a_sequence_is_never_blanked() -> None:
    for step in range(20):
        ids = masked_inputs(batch(), 0.99, seed=1, step=step)
        assert torch.equal(ids[:, 0], batch().input_ids[:, 0])


def test_nothing_is_blanked_without_a_share() -> None:
    given = batch()
    assert masked_inputs(given, 0.0, seed=1, step=0) is given.input_ids


def test_it_is_a_function_of_seed_step_and_place_alone() -> None:
    whole = masked_inputs(batch(), 0.4, seed=1, step=7)
    assert torch.equal(whole, masked_inputs(batch(), 0.4, seed=1, step=7))
    parts = [masked_inputs(m, 0.4, seed=1, step=7) for m in batch().micro_batches(5)]
    assert torch.equal(whole, torch.cat(parts))
    turned = masked_inputs(batch(LENGTH * 9, LENGTH * 2), 0.4, seed=1, step=7)
    assert torch.equal(turned, whole[[9, 2]])
    for other in ({"seed": 2, "step": 7}, {"seed": 1, "step": 8}):
        assert not torch.equal(whole, masked_inputs(batch(), 0.4, **other))
    assert not torch.equal(whole[0] == BLANK, whole[1] == BLANK)


def test_a_larger_share_blanks_more_of_the_same_places() -> None:
    few, many = (masked_inputs(batch(), s, seed=1, step=0) == BLANK for s in (0.1, 0.3))
    assert bool(many[few].all())
    assert many.sum() > few.sum()


def test_a_blank_is_the_padding_of_the_runs_tokenizer_which_no_text_has(tmp_path) -> None:
    save_tokenizer(train_tokenizer(["some <pad> text"], 260), tmp_path)
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.pad_token_id == BLANK


def test_a_model_whose_places_leave_blanks_out_is_refused() -> None:
    check_blanks_keep_places("s", new_model())
    roberta = AutoModelForCausalLM.from_config(
        RobertaConfig(
            vocab_size=40,
            hidden_size=8,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=8,
            is_decoder=True,
            pad_token_id=BLANK,
        )
    ).eval()
    text = torch.arange(5, 15)[None]
    blanked = text.clone()
    blanked[0, 3] = BLANK
    places = roberta.roberta.embeddings.create_position_ids_from_input_ids(blanked, BLANK)
    assert places[0, -1] == BLANK + 9  # one less than without the blank: what the check is about
    with pytest.raises(RecipeError, match=r"models.s.distillation.mask_inputs: roberta counts"):
        check_blanks_keep_places("s", roberta)


def test_ids_on_a_device_stay_there() -> None:
    given = batch()
    given = replace(given, input_ids=given.input_ids.to("meta"))
    assert masked_inputs(given, 0.3, seed=1, step=0).device.type == "meta"
