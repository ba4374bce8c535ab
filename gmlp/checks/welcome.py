"""Lesson 00: what a right, and each known wrong, answer looks like."""

import math
from collections import Counter
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gmlp.checks.core import Draw, Exercise, Misconception, prediction
from gmlp.corpus import count_bits, encode

# Characters by their number of bytes. The first row fits into latin-1, the others do not.
_WIDER = ("", "éïñüøÅ", "€–∑→あ語", "🙂🚀🐍🎲🧭🪁")


def _draw_text(rng: Draw) -> tuple[Any, ...]:
    letters = [chr(97 + i) for i in torch.randperm(26, generator=rng.generator).tolist()[:7]]
    for wider in _WIDER[1 : rng.number + 1]:
        letters.insert(rng.integer(1, 6), wider[rng.integer(0, len(wider))])
    word = "".join(letters)
    return (f"{word[:4].upper()} {word[4:]}{letters[0]}\n",)  # no letter is the last by alphabet


def _points(text: str) -> list[int]:
    return [ord(character) for character in text]


def _own_vocabulary(text: str) -> Tensor:
    number = {character: i for i, character in enumerate(sorted(set(text)))}
    return torch.tensor([number[character] for character in text])


def _filled(text: str) -> Tensor:
    data = bytes(text, "utf-8")
    out = torch.zeros(len(data), dtype=torch.int64)
    for i, byte in enumerate(data):
        out[i] = byte
    return out


def _character_by_character(text: str) -> Tensor:
    tokens: list[int] = []
    for character in text:
        tokens += character.encode("utf-8")
    return torch.LongTensor(tokens)


def _draw_chances(rng: Draw) -> tuple[Any, ...]:
    (n,) = rng.sizes(1, least=3)
    return (rng.normal(n).sigmoid().clamp(0.01, 0.99).tolist(),)


def _mean_bits(chances: list[float]) -> float:
    return sum(-math.log2(chance) for chance in chances) / len(chances)


def _found_mean_bits(chances: list[float]) -> float:
    """The code that the learner is given; its bytecode must equal the notebook's."""
    return -math.log2(sum(chances) / len(chances))


def _running_mean(chances: list[float]) -> float:
    mean = 0.0
    for i, chance in enumerate(chances):
        mean += (math.log(1 / chance, 2) - mean) / (i + 1)
    return mean


def _overwritten(chances: list[float]) -> float:
    bits = 0.0
    for chance in chances:
        bits = -math.log2(chance)
    return bits / len(chances)


def _returned_too_early(chances: list[float]) -> float:
    bits = 0.0
    for chance in chances:
        bits -= math.log2(chance)
        return bits / len(chances)
    return bits


def _draw_tokens(rng: Draw) -> tuple[Any, ...]:
    """More pairs than there are different ones, so some repeat; the last token occurs only there.

    In the first text one token does not occur at all; in the others the last token has nothing
    after it.
    """
    (v,) = rng.sizes(1, least=5)
    tokens = rng.integers(1, v, v * v + 4)
    if rng.number:
        tokens[-1] = 0
    return (tokens + rng.integer(0, v)) % v, v


def _counts(tokens: Tensor, v: int) -> Tensor:
    """(v, v): how often the row's token is followed by the column's."""
    return torch.bincount(tokens[:-1] * v + tokens[1:], minlength=v * v).view(v, v).float()


def _smoothed(counts: Tensor) -> Tensor:
    return (counts + 1 / len(counts)) / (counts.sum(1, keepdim=True) + 1)


def _next_byte_chances(tokens: Tensor, num_tokens: int) -> Tensor:
    return _smoothed(_counts(tokens, num_tokens))


def _by_counter(tokens: Tensor, num_tokens: int) -> Tensor:
    row = tokens.tolist()
    pairs, firsts = Counter(pairwise(row)), Counter(row[:-1])
    every = range(num_tokens)
    return torch.tensor(
        [[(pairs[c, x] + 1 / num_tokens) / (firsts[c] + 1) for x in every] for c in every]
    )


def _by_one_hot(tokens: Tensor, num_tokens: int) -> Tensor:
    hit = F.one_hot(tokens, num_tokens).float()
    counts = hit[:-1].T @ hit[1:] + 1 / num_tokens
    return counts / counts.sum(-1, keepdim=True)


def _by_index_put(tokens: Tensor, num_tokens: int) -> Tensor:
    table = torch.full((num_tokens, num_tokens), 1 / num_tokens)
    table.index_put_((tokens[:-1], tokens[1:]), torch.ones(()), accumulate=True)
    return F.normalize(table, p=1, dim=1)


def _by_loop(tokens: Tensor, num_tokens: int) -> Tensor:
    table = torch.zeros(num_tokens, num_tokens)
    for i in range(1, len(tokens)):
        table[tokens[i - 1], tokens[i]] += 1
    for c in range(num_tokens):
        seen = table[c].sum().item()
        for x in range(num_tokens):
            table[c, x] = (table[c, x] + 1 / num_tokens) / (seen + 1)
    return table


def _counted_once(tokens: Tensor, num_tokens: int) -> Tensor:
    counts = torch.zeros(num_tokens, num_tokens)
    counts[tokens[:-1], tokens[1:]] += 1
    return _smoothed(counts)


def _wrapped(tokens: Tensor, num_tokens: int) -> Tensor:
    return _next_byte_chances(torch.cat([tokens, tokens[:1]]), num_tokens)


def _every_other_pair(tokens: Tensor, num_tokens: int) -> Tensor:
    pairs = tokens[: len(tokens) // 2 * 2].view(-1, 2)
    flat = torch.bincount(pairs[:, 0] * num_tokens + pairs[:, 1], minlength=num_tokens**2)
    return _smoothed(flat.view(num_tokens, num_tokens).float())


def _past_the_end(tokens: Tensor, num_tokens: int) -> Tensor:
    counts = torch.zeros(num_tokens, num_tokens)
    for i in range(len(tokens)):
        counts[tokens[i], tokens[i + 1]] += 1
    return _smoothed(counts)


def _last_token_counted(tokens: Tensor, num_tokens: int) -> Tensor:
    seen = torch.bincount(tokens, minlength=num_tokens)
    return (_counts(tokens, num_tokens) + 1 / num_tokens) / (seen[:, None] + 1)


def _without_context(tokens: Tensor, num_tokens: int) -> Tensor:
    seen = torch.bincount(tokens, minlength=num_tokens)
    chances = (seen + 1 / num_tokens) / (len(tokens) + 1)
    return chances.expand(num_tokens, num_tokens)


def _tensors_as_keys(tokens: Tensor, num_tokens: int) -> Tensor:
    return torch.full((num_tokens, num_tokens), 1 / num_tokens)


_TRAIN, _ASKED = "a" * 255, "b"


def _smoothed_where_empty(tokens: Tensor, num_tokens: int) -> Tensor:
    table = torch.zeros(num_tokens, num_tokens)
    for c, x in zip(tokens[:-1].tolist(), tokens[1:].tolist(), strict=True):
        table[c, x] += 1
    sums = table.sum(1, keepdim=True)
    return torch.where(sums > 0, table / sums.clamp(min=1), torch.tensor(1 / num_tokens))


EXERCISES = (
    Exercise(
        name="encode_text",
        lesson="00_welcome",
        axes="n",
        draw=_draw_text,
        draws=4,
        solution=encode,
        alternatives=(
            lambda text: torch.tensor([*text.encode()]),
            _filled,
            _character_by_character,
            lambda text: torch.frombuffer(bytearray(text, "utf-8"), dtype=torch.uint8).long(),
        ),
        misconceptions=(
            Misconception(
                "characters instead of bytes",
                lambda text: torch.tensor(_points(text)),
                "You give every character one number, its code point, and that can exceed 255.",
                "`ord` knows nothing of bytes. Which method of a str returns some?",
            ),
            Misconception(
                "code points modulo 256",
                lambda text: torch.tensor(_points(text)) % 256,
                "You press each character into one number below 256, so different characters "
                "become equal.",
                "A character beyond the English alphabet takes two bytes or more.",
            ),
            Misconception(
                "large code points dropped",
                lambda text: torch.tensor([point for point in _points(text) if point < 256]),
                "You keep the code points below 256 and drop the other characters.",
                "No byte may get lost: from the tokens the text must come back.",
            ),
            Misconception(
                "bytes of the code points",
                lambda text: torch.tensor(list(bytes(_points(text)))),
                "You make one byte of each code point, and from 256 on that cannot work.",
                "A character beyond the English alphabet takes two bytes or more. Which method of "
                "a str returns them?",
            ),
            Misconception(
                "one number a character",
                lambda text: torch.tensor([int.from_bytes(c.encode(), "big") for c in text]),
                "You join the bytes of a character into one large number.",
                "Each byte is a token of its own, from 0 to 255.",
            ),
            Misconception(
                "a vocabulary of its own",
                _own_vocabulary,
                "You number the characters that occur in this text, so a letter has another "
                "number in another text.",
                "The number of a byte is fixed: g is 103 in every text.",
            ),
            Misconception(
                "letters counted from a",
                lambda text: torch.tensor(_points(text)) - ord("a"),
                "You count the letters from a, so a is 0, and a space is less than nothing.",
                "A byte is from 0 to 255, and a has the number that UTF-8 gives it.",
            ),
            Misconception(
                "latin-1",
                lambda text: torch.tensor([*text.encode("latin-1")]),
                "You encode as latin-1, which has 256 characters and no others.",
                "The course uses UTF-8. What does `.encode()` do without an argument?",
            ),
            Misconception(
                "ascii",
                lambda text: torch.tensor([*text.encode("ascii")]),
                "You encode as ASCII, which has no letter beyond the English alphabet.",
                "The course uses UTF-8. What does `.encode()` do without an argument?",
            ),
            Misconception(
                "other characters dropped",
                lambda text: torch.tensor([*text.encode("ascii", "ignore")]),
                "You drop every character beyond the English alphabet.",
                "No byte may get lost: from the tokens the text must come back.",
            ),
            Misconception(
                "other characters replaced",
                lambda text: torch.tensor([*text.encode("ascii", "replace")]),
                "You put a question mark in place of every character beyond the English alphabet.",
                "No byte may get lost: from the tokens the text must come back.",
            ),
            Misconception(
                "utf-16",
                lambda text: torch.tensor([*text.encode("utf-16")]),
                "You encode as UTF-16: two bytes even for an a, and two more in front.",
                "The course uses UTF-8. What does `.encode()` do without an argument?",
            ),
            Misconception(
                "end cut off",
                lambda text: torch.tensor([*text.strip().encode()]),
                "You strip the text: a line break at its end is lost.",
                "Spaces and line breaks are bytes like any other.",
            ),
            Misconception(
                "small letters",
                lambda text: torch.tensor([*text.lower().encode()]),
                "You make all letters small first, so A and a become one token.",
                "Leave the text as it is: A is another byte than a.",
            ),
            Misconception(
                "as many tokens as characters",
                lambda text: torch.tensor([*text.encode()][: len(text)]),
                "You stop after as many bytes as there are characters.",
                "How long is the answer? Ask the bytes for their length, not the text.",
            ),
            Misconception(
                "uint8",
                lambda text: torch.tensor([*text.encode()], dtype=torch.uint8),
                "The numbers are right, but they are stored as uint8. Models want int64.",
                "`.long()` turns a tensor into int64.",
            ),
            Misconception(
                "floats",
                lambda text: torch.tensor([*text.encode()], dtype=torch.float32),
                "The numbers are right, but you return floats. A token is a whole number.",
                "`torch.Tensor` makes floats of everything; `torch.tensor` keeps whole numbers.",
            ),
            Misconception(
                "an axis too many",
                lambda text: torch.tensor([[*text.encode()]]),
                "You return a batch with one row; asked for is the row alone.",
                "One pair of square brackets is enough.",
            ),
            Misconception(
                "a list",
                lambda text: [*text.encode()],
                "The numbers are right, but you return a list of them, and not a tensor.",
                "`torch.tensor([1, 2])` makes a tensor of a list.",
            ),
            Misconception(
                "bytes",
                lambda text: text.encode(),
                "You return Python's bytes. They hold the right numbers, but are no tensor.",
                "`list(...)` makes a list of numbers of them. What makes a tensor of a list?",
            ),
            Misconception(
                "bytes given to torch.tensor",
                lambda text: torch.tensor(text.encode()),
                "You have the bytes, but torch.tensor does not take them as they are.",
                "It takes a list of numbers. What does `list(...)` make of bytes?",
            ),
            Misconception(
                "text given to torch.tensor",
                torch.tensor,
                "You give the text itself to torch.tensor, which takes numbers only.",
                "First turn the text into bytes, then the bytes into a list of numbers.",
            ),
            Misconception(
                "list of characters",
                lambda text: torch.tensor(list(text)),
                "You give torch.tensor a list of characters; it takes numbers only.",
                "A list made of bytes is a list of numbers. How does a text become bytes?",
            ),
        ),
        hints=(
            "Every str has a method that turns it into bytes, in UTF-8 if you say no more. What is "
            "it called?",
            "`list(b'gM')` is [103, 77]: bytes are a row of numbers already. torch.tensor takes "
            "such a list.",
            "data = the bytes of text; numbers = the list of data; return torch.tensor of numbers.",
        ),
    ),
    Exercise(
        name="mean_bits",
        lesson="00_welcome",
        axes="",
        draw=_draw_chances,
        draws=4,
        solution=_mean_bits,
        kind="debug",
        stub=_found_mean_bits,
        tolerance=1e-5,  # torch.tensor(chances) is float32
        alternatives=(
            _running_mean,
            lambda chances: -math.log2(math.prod(chances)) / len(chances),
            lambda chances: -torch.tensor(chances).log2().mean(),
            lambda chances: (
                -sum(math.log(chance) for chance in chances) / math.log(2) / len(chances)
            ),
        ),
        misconceptions=(
            Misconception(
                "log of the mean",
                lambda chances: math.log2(len(chances) / sum(chances)),
                "You still average the chances and take one logarithm of that, so a byte that was "
                "called next to impossible costs hardly anything.",
                "The guesser pays at every byte. What is averaged: chances or payments?",
            ),
            Misconception(
                "nats",
                lambda chances: -sum(map(math.log, chances)) / len(chances),
                "Every byte pays now, but in nats: math.log is the natural logarithm.",
                "A chance of one half must cost exactly 1.",
            ),
            Misconception(
                "log10",
                lambda chances: -sum(map(math.log10, chances)) / len(chances),
                "Every byte pays now, but you take the logarithm to base 10.",
                "A chance of one half must cost exactly 1.",
            ),
            Misconception(
                "sign lost",
                lambda chances: sum(map(math.log2, chances)) / len(chances),
                "The sign is the wrong way round: your guesser is paid instead of paying.",
                "The logarithm of a number below 1 is negative.",
            ),
            Misconception(
                "sum",
                lambda chances: -sum(map(math.log2, chances)),
                "You return the whole bill. The score is the mean, so that a long text does not "
                "count as a hard one.",
                "How many bytes share the bill?",
            ),
            Misconception(
                "log of the sum",
                lambda chances: -math.log2(sum(chances)),
                "You add the chances up and take one logarithm of that.",
                "The guesser pays at every byte. What should be added up: chances or payments?",
            ),
            Misconception(
                "nats, sign lost",
                lambda chances: sum(map(math.log, chances)) / len(chances),
                "Every byte pays now, but in nats, and with the sign the wrong way round.",
                "A chance of one half must cost exactly 1.",
            ),
            Misconception(
                "rounded",
                lambda chances: round(_mean_bits(chances), 2),
                "You round to two decimals.",
                "Leave the number as it comes; round when you print it.",
            ),
            Misconception(
                "list of bits",
                lambda chances: [-math.log2(chance) for chance in chances],
                "You return what every byte costs, one by one.",
                "Asked for is one number, their mean.",
            ),
            Misconception(
                "weighted by the chances",
                lambda chances: -sum(chance * math.log2(chance) for chance in chances),
                "You multiply every payment by its chance. That is the formula of entropy, for all "
                "bytes that could come.",
                "Here the bytes have come already, and each of them counts the same.",
            ),
            Misconception(
                "weighted by the chances, mean",
                lambda chances: (
                    -sum(chance * math.log2(chance) for chance in chances) / len(chances)
                ),
                "You multiply every payment by its chance before you take the mean.",
                "The bytes have come already, and each of them counts the same.",
            ),
            Misconception(
                "log of the mean of 1 / p",
                lambda chances: math.log2(sum(1 / chance for chance in chances) / len(chances)),
                "You average 1 / p and take one logarithm of that; each byte should have its own.",
                "Logarithm first, mean last.",
            ),
            Misconception(
                "no logarithm",
                lambda chances: sum(chances) / len(chances),
                "You return the mean of the chances, without a logarithm.",
                "Chapter 0.5 says what a guesser pays for a chance p.",
            ),
            Misconception(
                "mean of 1 / p",
                lambda chances: sum(1 / chance for chance in chances) / len(chances),
                "You return the mean of 1 / p, without a logarithm.",
                "A chance of one half must cost exactly 1.",
            ),
            Misconception(
                "1 - p",
                lambda chances: -sum(math.log2(1 - chance) for chance in chances) / len(chances),
                "You take the logarithm of 1 - p, so who was sure and right pays most.",
                "What is p: the chance of the byte that came, or that of all others?",
            ),
            Misconception(
                "only the last byte",
                _overwritten,
                "At every byte your loop forgets what the earlier ones cost: `=` writes over it.",
                "The payments should add up before the mean is taken.",
            ),
            Misconception(
                "returned in the loop",
                _returned_too_early,
                "Your loop ends at the first byte, because `return` stands inside it.",
                "How far is the last line indented?",
            ),
            Misconception(
                "2 to the power of the bits",
                lambda chances: 2 ** _mean_bits(chances),
                "You raise 2 to the power of the bits. That is the perplexity: among how many "
                "bytes the guesser hesitates.",
                "The bits themselves are asked for: stop one step earlier.",
            ),
            Misconception(
                "divided by 8",
                lambda chances: -sum(map(math.log2, chances)) / len(chances) / 8,
                "You divide by 8 as well, as if these were the bits of which a byte is made.",
                "Bits per byte are what a byte costs. With all 256 bytes alike that is 8, and "
                "not 1.",
            ),
        ),
        hints=(
            "Two bytes come, and their chances were 1/2 and 1/8. What does the guesser pay for the "
            "first, what for the second, and what is the mean of the two?",
            "The given code takes one logarithm. How many logarithms does a bill for n bytes have?",
            "For each chance, minus its logarithm to base 2; then the sum of these; then divide by "
            "how many there are.",
        ),
    ),
    prediction(
        "bits_for_unseen_byte",
        "00_welcome",
        lambda: count_bits(encode(_TRAIN), encode(_ASKED), 0),
        because=(
            "The counter pretends to have seen 1/256 of a b among 256 bytes. The chance is 1 in "
            "256 × 256, and that costs 8 + 8 bits: never say never, but who was too sure pays "
            "more than who knew nothing."
        ),
        misconceptions=(
            Misconception(
                "impossible",
                lambda: math.inf,
                "You say that b is impossible. Counting alone would say so, too.",
                "This counter pretends to have seen one byte more than it has. How much of that "
                "one is a b?",
            ),
            Misconception(
                "as if nothing was read",
                lambda: 8.0,
                "Eight bits is what b costs before anything was counted.",
                "The share of b is 1/256 of one byte. Of how many bytes in all?",
            ),
            Misconception(
                "no pretended byte below",
                lambda: math.log2(256 * 255),
                "You divide by the 255 bytes that were read.",
                "The pretended byte counts among all bytes, too.",
            ),
            Misconception(
                "one of every byte added",
                lambda: math.log2(255 + 256),
                "You pretend to have seen every byte once, which adds 256 bytes.",
                "The counter of 0.6 adds one byte in all, spread evenly.",
            ),
            Misconception(
                "bits for an a",
                lambda: count_bits(encode(_TRAIN), encode("a"), 0),
                "That is what one more a would cost: almost nothing.",
                "After 255 times a there comes a b.",
            ),
            Misconception(
                "the chance",
                lambda: 2.0**-16,
                "That is the chance of b. Asked for is what it costs.",
                "How many times do you halve 1 to get there?",
            ),
            Misconception(
                "one over the chance",
                lambda: 2.0**16,
                "That is 1 over the chance of b. Asked for is what it costs, in bits.",
                "Bits count doublings.",
            ),
            Misconception(
                "sign lost",
                lambda: -16.0,
                "The size is right, but your guesser is paid instead of paying.",
                "A bill has no minus.",
            ),
            Misconception(
                "nats",
                lambda: 16 * math.log(2),
                "The chance is right, but you take the natural logarithm.",
                "A chance of one half costs 1 bit.",
            ),
            Misconception(
                "no bits",
                lambda: 0.0,
                "Nothing to pay: that is for who was sure of what came.",
                "Was this counter sure of a b?",
            ),
        ),
        hints=(
            "How many bytes has the counter seen, with the one that it pretends to have seen?",
            "`chance(byte)` in 0.6 has the formula. There are 0 counts of b.",
            "Both parts of the fraction are powers of two: 1/256 above, 255 + 1 below. How many "
            "halvings is that in all?",
        ),
    ),
    Exercise(
        name="next_byte_chances",
        lesson="00_welcome",
        axes="c x",
        draw=_draw_tokens,
        solution=_next_byte_chances,
        kind="extend",
        alternatives=(_by_counter, _by_one_hot, _by_index_put, _by_loop),
        misconceptions=(
            Misconception(
                "table transposed",
                lambda tokens, v: _next_byte_chances(tokens, v).T,
                "Your table lies on its side: the columns are the tokens before, the rows those "
                "after.",
                "A row is one context. What must the numbers of a row add up to?",
            ),
            Misconception(
                "read backwards",
                lambda tokens, v: _next_byte_chances(tokens.flip(0), v),
                "Row c has the chances of what came before c, not after it.",
                "Which of the two tokens of a pair do you use as the row?",
            ),
            Misconception(
                "columns add up to 1",
                lambda tokens, v: (
                    (_counts(tokens, v) + 1 / v) / (_counts(tokens, v).sum(0, keepdim=True) + 1)
                ),
                "You divide by the sums of the columns, so the columns add up to 1, not the rows.",
                "`sum(0)` adds up down the columns. Which axis has what comes after one context?",
            ),
            Misconception(
                "sums without an axis",
                lambda tokens, v: (_counts(tokens, v) + 1 / v) / (_counts(tokens, v).sum(1) + 1),
                "You add up the right way, but broadcasting lays your sums along the columns: "
                "column x is divided by the sum of row x.",
                "What shape do the sums need, so that each meets its own row? See `keepdim`.",
            ),
            Misconception(
                "no smoothing",
                lambda tokens, v: _counts(tokens, v) / _counts(tokens, v).sum(1, keepdim=True),
                "You return bare shares. A token that nothing followed gives 0 / 0, and pairs "
                "that were not seen are called impossible.",
                "Never say never: after each context, pretend to have seen one token more.",
            ),
            Misconception(
                "no smoothing, empty rows zero",
                lambda tokens, v: (
                    _counts(tokens, v) / _counts(tokens, v).sum(1, keepdim=True).clamp(min=1)
                ),
                "You avoid dividing by zero, but pairs that were not seen still have chance 0.",
                "Never say never: after each context, pretend to have seen one token more.",
            ),
            Misconception(
                "no smoothing, sums without an axis",
                lambda tokens, v: _counts(tokens, v) / _counts(tokens, v).sum(1),
                "You return bare shares, and of the wrong sums: column x is divided by the sum of "
                "row x.",
                "What shape do the sums need, so that each meets its own row? Then: never say "
                "never.",
            ),
            Misconception(
                "shares plus 1 / num_tokens",
                lambda tokens, v: (
                    _counts(tokens, v) / _counts(tokens, v).sum(1, keepdim=True) + 1 / v
                ),
                "You add the pretended token after dividing. A token that nothing followed still "
                "gives 0 / 0, and the rows add up to 2.",
                "It is a count: add it before you divide, above and below.",
            ),
            Misconception(
                "one above, one below",
                lambda tokens, v: (
                    (_counts(tokens, v) + 1) / (_counts(tokens, v).sum(1, keepdim=True) + 1)
                ),
                "You add a whole token to every count, but only one to the sum below.",
                "One token in all is pretended after each context. What is left for each?",
            ),
            Misconception(
                "one added to every count",
                lambda tokens, v: (
                    (_counts(tokens, v) + 1) / (_counts(tokens, v).sum(1, keepdim=True) + v)
                ),
                "You add a whole token to every count, num_tokens of them for each context.",
                "One token in all is pretended after each context. What is left for each?",
            ),
            Misconception(
                "1/256",
                lambda tokens, v: (
                    (_counts(tokens, v) + 1 / 256) / (_counts(tokens, v).sum(1, keepdim=True) + 1)
                ),
                "You spread the pretended token over 256, but here there are num_tokens of them.",
                "Do your rows add up to 1?",
            ),
            Misconception(
                "nothing added above",
                lambda tokens, v: (
                    _counts(tokens, v) / (_counts(tokens, v).sum(1, keepdim=True) + 1)
                ),
                "You count the pretended token in the sum below, but not in the counts above.",
                "Do your rows add up to 1?",
            ),
            Misconception(
                "nothing added below",
                lambda tokens, v: (
                    (_counts(tokens, v) + 1 / v) / _counts(tokens, v).sum(1, keepdim=True)
                ),
                "You add the pretended token to the counts above, but not to the sum below.",
                "What happens to a token that nothing followed? And do your rows add up to 1?",
            ),
            Misconception(
                "each pair counted once",
                _counted_once,
                "You count every pair once, however often it occurs: with index tensors, `+= 1` "
                "writes to each place only once.",
                "Look at a pair that occurs twice. A plain loop counts both.",
            ),
            Misconception(
                "last token counted",
                _last_token_counted,
                "Below the line you count every token, also the last one, which nothing followed.",
                "How many pairs do n tokens make?",
            ),
            Misconception(
                "end joined to the beginning",
                _wrapped,
                "You count one pair too many: the last token, followed by the first.",
                "How many pairs do n tokens make?",
            ),
            Misconception(
                "one pair too many",
                _past_the_end,
                "Your loop asks for what comes after the last token.",
                "How many pairs do n tokens make, and where must the loop end?",
            ),
            Misconception(
                "last pair lost",
                lambda tokens, v: _next_byte_chances(tokens[:-1], v),
                "You miss the last pair.",
                "How many pairs do n tokens make, and where must the loop end?",
            ),
            Misconception(
                "first pair lost",
                lambda tokens, v: _next_byte_chances(tokens[1:], v),
                "You miss the first pair.",
                "How many pairs do n tokens make, and where must the loop begin?",
            ),
            Misconception(
                "every other pair",
                _every_other_pair,
                "You cut the text into pairs, so every token belongs to one of them only.",
                "Each token is what came, and then the context of the next one.",
            ),
            Misconception(
                "divided by all pairs",
                lambda tokens, v: (_counts(tokens, v) + 1 / v) / len(tokens),
                "You divide by the number of all pairs. That tells how common a pair is.",
                "Once you know that c has come, only the pairs that begin with c count.",
            ),
            Misconception(
                "divided by all pairs, no smoothing",
                lambda tokens, v: _counts(tokens, v) / (len(tokens) - 1),
                "You return how common each pair is among all pairs.",
                "Once you know that c has come, only the pairs that begin with c count. And never "
                "say never.",
            ),
            Misconception(
                "divided by all pairs, spread over all pairs",
                lambda tokens, v: (_counts(tokens, v) + 1 / v**2) / len(tokens),
                "You spread one pretended pair over the whole table, and all of it adds up to 1.",
                "Once you know that c has come, only row c counts, and it should add up to 1.",
            ),
            Misconception(
                "no context",
                _without_context,
                "All your rows are equal: you count single tokens, whatever came before them.",
                "Row c has only what came right after a c.",
            ),
            Misconception(
                "tensors as keys",
                _tensors_as_keys,
                "All your chances are equal, as if nothing had been counted. Tensors are poor "
                "keys for a dict or a Counter: two of them never count as the same.",
                "`tokens.tolist()` gives plain numbers. Print your counts.",
            ),
            Misconception(
                "softmax",
                lambda tokens, v: _counts(tokens, v).softmax(1),
                "You put the counts through a softmax: one more of a pair makes it 2.7 times as "
                "likely.",
                "A share is a count divided by a sum.",
            ),
            Misconception(
                "bare counts",
                _counts,
                "You return the counts themselves.",
                "Add the pretended token, and divide each row so that it adds up to 1.",
            ),
            Misconception(
                "smoothed only where nothing was seen",
                _smoothed_where_empty,
                "You pretend a token only after those that nothing followed; in all other rows, "
                "pairs that were not seen are called impossible.",
                "Never say never: after each context, pretend to have seen one token more.",
            ),
        ),
        hints=(
            "Take a text of five tokens and write its pairs down. How many are there, and in which "
            "row does each of them count?",
            "Begin with a table of zeros and one loop over the pairs. `chance(byte)` in 0.6 then "
            "shows what to add above and below the line.",
            "counts[before, after] += 1 for each pair; then (counts + a share) / (each row's sum + "
            "1). The share is the pretended token, spread over num_tokens.",
        ),
    ),
)
