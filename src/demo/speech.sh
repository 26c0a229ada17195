#!/bin/sh
# Makes speech.ulaw and speech.txt, the demo agent's voice, anew. Needs espeak-ng and sox; the build
# does not. Run it in this directory.
#
# speech.ulaw: 8 kHz G.711 mu-law without a header, one clip behind the other.
# speech.txt: a line a clip, in the same order: its length in bytes, a space, what it says.
set -eu
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
: > "$work/all.ulaw"
: > speech.txt

# clip WRITTEN SPOKEN PAUSE: silence around the words is cut off, PAUSE seconds are put behind.
clip() {
    espeak-ng -v en-us -s 172 -p 45 -w "$work/clip.wav" -- "$2"
    sox "$work/clip.wav" -r 8000 -c 1 -e mu-law -t raw "$work/clip.ulaw" \
        highpass 80 silence 1 0.01 0.3% reverse silence 1 0.01 0.3% fade t 0.008 reverse \
        fade t 0.004 gain -n -4 pad 0.01 "$3"
    cat "$work/clip.ulaw" >> "$work/all.ulaw"
    echo "$(wc -c < "$work/clip.ulaw") $1" >> speech.txt
}

while read -r sentence; do
    clip "$sentence" "$sentence" 0.12
done < sentences.txt
for day in Monday Tuesday Wednesday Thursday Friday Saturday Sunday; do
    clip "$day" "$day" 0.02
done
for day in 1st 2nd 3rd 4th 5th 6th 7th 8th 9th 10th 11th 12th 13th 14th 15th 16th 17th 18th 19th \
    20th 21st 22nd 23rd 24th 25th 26th 27th 28th 29th 30th 31st; do
    clip "the $day" "the $day" 0.01
done
for month in January February March April May June July August September October November \
    December; do
    clip "of $month" "of $month" 0.03
done
for hour in 1 2 3 4 5 6 7 8 9 10 11 12; do
    clip "at $hour" "at $hour" 0.01
done
for minute in 05 10 15 20 25 30 35 40 45 50 55; do
    case $minute in 05) spoken="oh five" ;; *) spoken=$minute ;; esac
    clip ":$minute" "$spoken" 0.02
done
clip "in the morning" "in the morning" 0.1
clip "in the afternoon" "in the afternoon" 0.1
for sign in 0 1 2 3 4 5 6 7 8 9 A B C D E F G H I J K L M N O P Q R S T U V W X Y Z; do
    case $sign in A) spoken="eigh" ;; *) spoken=$sign ;; esac
    clip "$sign" "$spoken" 0.07
done
mv "$work/all.ulaw" speech.ulaw
