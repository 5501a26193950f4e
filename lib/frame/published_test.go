package frame_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wireline/lib/frame"
)

// published are the facts that the test suites of other frameworks pin, in this
// package's terms. Where these differ, the difference is said. The stream ends
// after the last piece.
var published = []struct {
	source string
	codec  frame.Codec
	pieces []string
	want   []string
}{
	// tokio-util, tests/codecs.rs. Its maximum counts the "\r" of a line's end,
	// and it drops a lone "\r" at the end of the stream; here neither is so.
	{"tokio lines_decoder", frame.Line{},
		[]string{"line 1\nline 2\r\nline 3\n\r\n\r", "k"},
		[]string{"=line 1", "=line 2", "=line 3", "=", "=\rk"}},
	{"tokio lines_decoder_max_length", frame.Line{Max: 6},
		[]string{"line 1 is too long\nline 2\nline 3\r\nline 4\n\r\n\r", "k"},
		[]string{tooLong, "=line 2", "=line 3", "=line 4", "=", "=\rk"}},
	{"tokio lines_decoder_max_length, one character over", frame.Line{Max: 6}, []string{"aaabbbc"}, []string{tooLong}},
	{"tokio lines_decoder_max_length_underrun", frame.Line{Max: 6},
		[]string{"line ", "too l", "ong\n", "line 2", "\n"}, []string{tooLong, "=line 2"}},
	{"tokio lines_decoder_max_length_bursts", frame.Line{Max: 10}, []string{"line ", "too l", "ong\n"}, []string{tooLong}},
	{"tokio lines_decoder_max_length_big_burst", frame.Line{Max: 10}, []string{"line ", "too long!\n"}, []string{tooLong}},
	{"tokio lines_decoder_max_length_newline_between_decodes", frame.Line{Max: 5},
		[]string{"hello", "\nworld"}, []string{"=hello", "=world"}},
	{"tokio lines_decoder_discard_repeat", frame.Line{Max: 1}, []string{"aa", "a"}, []string{tooLong}},
	{"tokio lines_decoder_max_length_underrun_twice", frame.Line{Max: 11},
		[]string{"line ", "too very l", "aaaaaaaaaaaaaaaaaaaaaaa", "ong\nshort\n"}, []string{tooLong, "=short"}},
	{"tokio any_delimiters_decoder_any_character", anyOf(0),
		[]string{"chunk 1,chunk 2;chunk 3\n\r", "k"}, []string{"=chunk 1", "=chunk 2", "=chunk 3", "=", "=k"}},
	{"tokio any_delimiters_decoder_max_length", anyOf(7),
		[]string{"chunk 1 is too long\nchunk 2\nchunk 3\r\nchunk 4\n\r\n", "k"},
		[]string{tooLong, "=chunk 2", "=chunk 3", "=", "=chunk 4", "=", "=", "=k"}},
	{"tokio any_delimiters_decoder_max_length, one character over", anyOf(7), []string{"aaabbbcc"}, []string{tooLong}},
	{"tokio any_delimiter_decoder_max_length_underrun", anyOf(7),
		[]string{"chunk ", "too l", "ong\n", "chunk 2", ","}, []string{tooLong, "=chunk 2"}},
	{"tokio any_delimiter_decoder_max_length_underrun_twice", anyOf(11),
		[]string{"chunk ", "too very l", "aaaaaaaaaaaaaaaaaaaaaaa", "ong\nshort\n"}, []string{tooLong, "=short"}},
	{"tokio any_delimiter_decoder_max_length_bursts", anyOf(11), []string{"chunk ", "too l", "ong\n"}, []string{tooLong}},
	{"tokio any_delimiter_decoder_max_length_big_burst", anyOf(11), []string{"chunk ", "too long!\n"}, []string{tooLong}},
	{"tokio any_delimiter_decoder_max_length_delimiter_between_decodes", anyOf(5),
		[]string{"hello", ",world"}, []string{"=hello", "=world"}},
	{"tokio any_delimiter_decoder_discard_repeat", anyOf(1), []string{"aa", "a"}, []string{tooLong}},

	// tokio-util, tests/length_delimited.rs. It counts the length from where it
	// stops skipping, here from the length field: the adjustments say so.
	{"tokio read_empty_io_yields_nothing", frame.Length{}, nil, nil},
	{"tokio read_single_frame_one_packet", frame.Length{}, []string{"\x00\x00\x00\x09abcdefghi"}, []string{"=abcdefghi"}},
	{"tokio read_single_frame_one_packet_little_endian", frame.Length{LittleEndian: true},
		[]string{"\x09\x00\x00\x00abcdefghi"}, []string{"=abcdefghi"}},
	{"tokio read_single_multi_frame_one_packet", frame.Length{},
		[]string{"\x00\x00\x00\x09abcdefghi\x00\x00\x00\x03123\x00\x00\x00\x0bhello world"},
		[]string{"=abcdefghi", "=123", "=hello world"}},
	{"tokio read_multi_frame_multi_packet", frame.Length{},
		[]string{"\x00\x00", "\x00\x09abc", "defghi", "\x00\x00\x00\x0312", "3\x00\x00\x00\x0bhello world"},
		[]string{"=abcdefghi", "=123", "=hello world"}},
	{"tokio read_incomplete_head", frame.Length{}, []string{"\x00\x00"}, []string{broken}},
	{"tokio read_incomplete_head_multi", frame.Length{}, []string{"\x00"}, []string{broken}},
	{"tokio read_incomplete_payload", frame.Length{}, []string{"\x00\x00\x00\x09ab", "cd"}, []string{broken}},
	{"tokio read_max_frame_len", frame.Length{Max: 5}, []string{"\x00\x00\x00\x09abcdefghi"}, []string{tooLong}},
	{"tokio read_one_byte_length_field", frame.Length{Width: 1}, []string{"\x09abcdefghi"}, []string{"=abcdefghi"}},
	{"tokio read_header_offset", frame.Length{Width: 2, Offset: 4}, []string{"zzzz\x00\x09abcdefghi"}, []string{"=abcdefghi"}},
	{"tokio read_single_multi_frame_one_packet_skip_none_adjusted", frame.Length{Width: 2, Offset: 2, KeepHeader: true},
		[]string{"xx\x00\x09abcdefghiyy\x00\x03123zz\x00\x0bhello world"},
		[]string{"=xx\x00\x09abcdefghi", "=yy\x00\x03123", "=zz\x00\x0bhello world"}},
	{"tokio read_single_frame_length_adjusted", frame.Length{Width: 3, Strip: 4, Adjust: 1},
		[]string{"\x00\x00\x0b\x0cHello world"}, []string{"=Hello world"}},
	{"tokio read_single_multi_frame_one_packet_length_includes_head", frame.Length{Width: 2, Adjust: -2},
		[]string{"\x00\x0babcdefghi\x00\x05123\x00\x0dhello world"}, []string{"=abcdefghi", "=123", "=hello world"}},

	// Netty, LineBasedFrameDecoderTest and DelimiterBasedFrameDecoderTest. It
	// drops a last line without an end.
	{"netty testDecodeWithStrip", frame.Line{Max: 8192}, []string{"first\r\nsecond\nthird"}, []string{"=first", "=second", "=third"}},
	{"netty testDecodeWithoutStrip", frame.Line{Max: 8192, KeepEnd: true},
		[]string{"first\r\nsecond\nthird"}, []string{"=first\r\n", "=second\n", "=third"}},
	{"netty testTooLongLine1", frame.Line{Max: 16, KeepEnd: true},
		[]string{"12345678901234567890\r\nfirst\nsecond"}, []string{tooLong, "=first\n", "=second"}},
	{"netty testTooLongLine2", frame.Line{Max: 16, KeepEnd: true},
		[]string{"12345678901234567", "890\r\nfirst\r\n"}, []string{tooLong, "=first\r\n"}},
	{"netty testTooLongLineWithFailFast", frame.Line{Max: 16, KeepEnd: true},
		[]string{"12345678901234567", "890", "123\r\nfirst\r\n"}, []string{tooLong, "=first\r\n"}},
	{"netty testDecodeSplitsCorrectly", frame.Line{Max: 8192, KeepEnd: true}, []string{"line\r\n.\r\n"}, []string{"=line\r\n", "=.\r\n"}},
	{"netty testFailSlowTooLongFrameRecovery", frame.Delimiter{Delim: []byte{0}, Max: 1},
		[]string{"\x01\x02", "\x00", "A\x00", "\x01\x02", "\x00", "A\x00"}, []string{tooLong, "=A", tooLong, "=A"}},
	{"netty testFailFastTooLongFrameRecovery", frame.Delimiter{Delim: []byte{0}, Max: 1},
		[]string{"\x01\x02", "\x00A\x00", "\x01\x02", "\x00A\x00"}, []string{tooLong, "=A", tooLong, "=A"}},
	{"netty testIncompleteLinesStrippedDelimiters", lineEnds(false), []string{"Test", "Line\r\ng\r\n"}, []string{"=TestLine", "=g"}},
	{"netty testIncompleteLines", lineEnds(true), []string{"Test", "Line\r\ng\r\n"}, []string{"=TestLine\r\n", "=g\r\n"}},
	{"netty testDecode", lineEnds(false), []string{"first\r\nsecond\nthird"}, []string{"=first", "=second", "=third"}},

	// Netty, LengthFieldBasedFrameDecoderTest (both of that name). Its maximum
	// counts the header, here it does not.
	{"netty length testFailSlowTooLongFrameRecovery", frame.Length{Max: 1},
		[]string{"\x00\x00\x00\x02", "\x00\x00", "\x00\x00\x00\x01A", "\x00\x00\x00\x02", "\x00\x00", "\x00\x00\x00\x01A"},
		[]string{tooLong, "=A", tooLong, "=A"}},
	{"netty length testFailFastTooLongFrameRecovery", frame.Length{Max: 1},
		[]string{"\x00\x00\x00\x02", "\x00\x00\x00\x00\x00\x01A"}, []string{tooLong, "=A"}},
	{"netty testDiscardTooLongFrame1", frame.Length{Max: 12, KeepHeader: true},
		[]string{"\x00\x00\x00\x20" + upTo32 + "\x00\x00\x00\x01a"}, []string{tooLong, "=\x00\x00\x00\x01a"}},
	{"netty testDiscardTooLongFrame2", frame.Length{Max: 12, KeepHeader: true},
		[]string{"\x00\x00\x00\x20" + upTo32[:10], upTo32[10:] + "\x00\x00\x00\x01a"}, []string{tooLong, "=\x00\x00\x00\x01a"}},

	// The layouts that the documentation of Netty's LengthFieldBasedFrameDecoder
	// shows.
	{"netty, length and body", frame.Length{Width: 2, KeepHeader: true}, []string{"\x00\x0cHELLO, WORLD"}, []string{"=\x00\x0cHELLO, WORLD"}},
	{"netty, length off", frame.Length{Width: 2, Strip: 2}, []string{"\x00\x0cHELLO, WORLD"}, []string{"=HELLO, WORLD"}},
	{"netty, length of all", frame.Length{Width: 2, Adjust: -2, KeepHeader: true}, []string{"\x00\x0eHELLO, WORLD"}, []string{"=\x00\x0eHELLO, WORLD"}},
	{"netty, bytes before the length", frame.Length{Width: 3, Offset: 2, KeepHeader: true},
		[]string{"\xca\xfe\x00\x00\x0cHELLO, WORLD"}, []string{"=\xca\xfe\x00\x00\x0cHELLO, WORLD"}},
	{"netty, bytes after the length", frame.Length{Width: 3, Adjust: 2, KeepHeader: true},
		[]string{"\x00\x00\x0c\xca\xfeHELLO, WORLD"}, []string{"=\x00\x00\x0c\xca\xfeHELLO, WORLD"}},
	{"netty, bytes on both sides", frame.Length{Width: 2, Offset: 1, Adjust: 1, Strip: 3},
		[]string{"\xca\x00\x0c\xfeHELLO, WORLD"}, []string{"=\xfeHELLO, WORLD"}},
	{"netty, bytes on both sides, length of all", frame.Length{Width: 2, Offset: 1, Adjust: -3, Strip: 3},
		[]string{"\xca\x00\x10\xfeHELLO, WORLD"}, []string{"=\xfeHELLO, WORLD"}},

	// Netty, ProtobufVarint32FrameDecoderTest.
	{"netty testTinyDecode", frame.Length{Width: frame.Varint}, []string{"\x04", "\x01\x01", "\x01\x01"}, []string{"=\x01\x01\x01\x01"}},
	{"netty testRegularDecode", frame.Length{Width: frame.Varint}, []string{"\xfe", "\x0f" + ones[:126], ones[126:726], ones[726:2046]}, []string{"=" + ones[:2046]}},

	// Twisted, test_basic.py. Its maximum is 50 where nothing is set; strings
	// that it calls illegal are too long here, or broken.
	{"twisted LineOnlyReceiver test_buffer", frame.Line{}, []string{"foo\n    bleakness\n    desolation\n"}, []string{"=foo", "=    bleakness", "=    desolation"}},
	{"twisted test_maximumLineLength", frame.Line{Max: 16384}, []string{strings.Repeat("x", 16385) + "\r\nr"}, []string{tooLong, "=r"}},
	{"twisted test_maximumLineLengthPartialDelimiter", frame.Line{Max: 4}, []string{"xxx", "", "\nxxx"}, []string{"=xxx", "=xxx"}},
	{"twisted test_notQuiteMaximumLineLengthUnfinished", frame.Line{Max: 8}, []string{"xxxxxxxx\r", "\n"}, []string{"=xxxxxxxx"}},
	{"twisted test_longLineAfterShortLine", frame.Line{Max: 6}, []string{"x\r\nxxxxxxxxxxxxxx"}, []string{"=x", tooLong}},
	{"twisted test_multipleLongLines", frame.Line{Max: 6}, []string{"xxxxxxxxxxxxxx\r\nxxxxxxxxxxxxxx\r\n"}, []string{tooLong, tooLong}},
	{"twisted netstrings", frame.Netstring{Max: 699}, []string{"5:hello,5:world,3:how,3:are,6:you123,6::today,515:" + ones[:515] + ","},
		[]string{"=hello", "=world", "=how", "=are", "=you123", "=:today", "=" + ones[:515]}},
	{"twisted illegal netstring, digits", frame.Netstring{Max: 50}, []string{"9999999999999999999999"}, []string{broken}},
	{"twisted illegal netstring, no digits", frame.Netstring{Max: 50}, []string{"abc"}, []string{broken}},
	{"twisted illegal netstring, no comma", frame.Netstring{Max: 50}, []string{"4:abcde"}, []string{broken}},
	{"twisted illegal netstring, too long", frame.Netstring{Max: 50}, []string{"51:" + ones[:51] + ","}, []string{tooLong}},
	{"twisted test_receiveEmptyNetstring", frame.Netstring{}, []string{"0:,"}, []string{"="}},
	{"twisted test_receiveNestedNetstring", frame.Netstring{}, []string{"4:1:a,,"}, []string{"=1:a,"}},
	{"twisted test_moreDataThanSpecified", frame.Netstring{}, []string{"2:aaa,"}, []string{broken}},
	{"twisted test_moreDataThanSpecifiedBorderCase", frame.Netstring{}, []string{"0:a,"}, []string{broken}},
	{"twisted test_missingNumber", frame.Netstring{}, []string{":aaa,"}, []string{broken}},
	{"twisted test_missingColon", frame.Netstring{}, []string{"3aaa,"}, []string{broken}},
	{"twisted test_missingNumberAndColon", frame.Netstring{}, []string{"aaa,"}, []string{broken}},
	{"twisted test_receiveNetstringPortions_1", frame.Netstring{}, []string{"4:aa", "aa,"}, []string{"=aaaa"}},
	{"twisted test_receiveNetstringPortions_2", frame.Netstring{}, []string{"1", "0:01234", "56789", ","}, []string{"=0123456789"}},
	{"twisted test_receiveTwoNetstrings", frame.Netstring{}, []string{"1:a,1", ":b,"}, []string{"=a", "=b"}},
	{"twisted test_consumeLengthBorderCase1", frame.Netstring{Max: 12}, []string{"12:hello world!,"}, []string{"=hello world!"}},
	{"twisted test_consumeLengthBorderCase2", frame.Netstring{Max: 11}, []string{"12:hello world!,"}, []string{tooLong}},
	{"twisted test_consumeLengthBorderCase3", frame.Netstring{Max: 11}, []string{"1000:"}, []string{tooLong}},
	{"twisted Int32", frame.Length{Max: 50}, []string{"\x00\x00\x00\x01a\x00\x00\x00\x10bbbbbbbbbbbbbbbb\x00\x00\x00\x04ubar"}, []string{"=a", "=bbbbbbbbbbbbbbbb", "=ubar"}},
	{"twisted Int32, illegal", frame.Length{Max: 50}, []string{"\x10\x00\x00\x00aaaaaa"}, []string{tooLong}},
	{"twisted Int32, partial", frame.Length{Max: 50}, []string{"\x00\x00\x00"}, []string{broken}},
	{"twisted Int16", frame.Length{Width: 2, Max: 50}, []string{"\x00\x01a\x00\x10bbbbbbbbbbbbbbbb\x00\x04ubar"}, []string{"=a", "=bbbbbbbbbbbbbbbb", "=ubar"}},
	{"twisted Int16, illegal", frame.Length{Width: 2, Max: 50}, []string{"\x10\x00aaaaaa"}, []string{tooLong}},
	{"twisted Int16, partial", frame.Length{Width: 2, Max: 50}, []string{"\x00"}, []string{broken}},
	{"twisted Int8", frame.Length{Width: 1, Max: 50}, []string{"\x01a\x10bbbbbbbbbbbbbbbb\x04ubar"}, []string{"=a", "=bbbbbbbbbbbbbbbb", "=ubar"}},
	{"twisted Int8, illegal", frame.Length{Width: 1, Max: 50}, []string{"\x00\x00aaaaaa"}, []string{"=", "=", tooLong}},
	{"twisted Int8, partial", frame.Length{Width: 1, Max: 50}, []string{"\x08"}, []string{broken}},
	{"twisted test_longStringNotDelivered", frame.Length{Width: 1, Max: 10}, []string{"\x0bxxxxxxxxxxx"}, []string{tooLong}},
}

var (
	ones   = strings.Repeat("\x01", 2046)
	upTo32 = func() string {
		b := make([]byte, 32)
		for i := range b {
			b[i] = byte(i)
		}
		return string(b)
	}()
)

func anyOf(max int) frame.Codec {
	return frame.Delimiter{Delim: []byte(","), Or: bytesOf(";", "\n", "\r"), Max: max}
}

func lineEnds(keep bool) frame.Codec {
	return frame.Delimiter{Delim: []byte("\r\n"), Or: bytesOf("\n"), Max: 8192, KeepEnd: keep}
}

func TestPublished(t *testing.T) {
	for _, test := range published {
		t.Run(test.source, func(t *testing.T) {
			if diff := cmp.Diff(test.want, recovered(t, test.codec, bytesOf(test.pieces...)...)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			for cuts := range uint64(10) {
				checkRecovery(t, test.codec, []byte(strings.Join(test.pieces, "")), cuts, test.want)
			}
		})
	}
}

// The same suites about what is written. An empty want is a refusal.
func TestPublishedAppend(t *testing.T) {
	for _, test := range []struct {
		source  string
		codec   frame.Codec
		payload string
		want    string
	}{
		{"tokio lines_encoder", frame.Line{}, "line 1", "line 1\n"},
		{"tokio any_delimiter_encoder", frame.Delimiter{Delim: []byte(";--;"), Or: bytesOf(",")}, "chunk 1", "chunk 1;--;"},
		{"tokio write_single_frame_one_packet", frame.Length{}, "abcdefghi", "\x00\x00\x00\x09abcdefghi"},
		{"tokio write_single_frame_little_endian", frame.Length{LittleEndian: true}, "abcdefghi", "\x09\x00\x00\x00abcdefghi"},
		{"tokio write_single_frame_with_short_length_field", frame.Length{Width: 1}, "abcdefghi", "\x09abcdefghi"},
		{"tokio write_single_frame_length_adjusted", frame.Length{Adjust: -2}, "abcdefghi", "\x00\x00\x00\x0babcdefghi"},
		{"tokio write_max_frame_len", frame.Length{Max: 5}, "abcdef", ""},
		{"twisted Int32 test_data", frame.Length{}, "foo", "\x00\x00\x00\x03foo"},
		{"twisted Int16 test_data", frame.Length{Width: 2}, "foo", "\x00\x03foo"},
		{"twisted Int8 test_data", frame.Length{Width: 1}, "foo", "\x03foo"},
		{"twisted Int16 test_tooLongSend", frame.Length{Width: 2, Max: 1 << 20}, strings.Repeat("b", 1<<16+1), ""},
		{"twisted Int8 test_tooLongSend", frame.Length{Width: 1}, strings.Repeat("b", 1<<8+1), ""},
	} {
		got, err := test.codec.Append(nil, []byte(test.payload))
		if string(got) != test.want || (err == nil) != (test.want != "") {
			t.Errorf("%s: %.40q, %v", test.source, got, err)
		}
	}
}

func ExampleLength() {
	// Two bytes that say how long the whole message is, and stay in it.
	codec := frame.Length{Width: 2, Adjust: -2, KeepHeader: true}
	var in frame.Buffer
	in.Filled(copy(in.Space(), "\x00\x07hello\x00\x02"))
	for {
		message, ok, err := in.Next(codec, true)
		if err != nil || !ok {
			break
		}
		fmt.Printf("%q\n", message)
	}
	// Output:
	// "\x00\ahello"
	// "\x00\x02"
}
