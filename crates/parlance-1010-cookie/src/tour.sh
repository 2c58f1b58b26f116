JAR=$(mktemp)
curl -s -c "$JAR" --data-urlencode "uid=$NAME" --data-urlencode "pw=$PASSWORD" "$BASE"'/beta-latest/api/!login'; echo
curl -s -b "$JAR" "$BASE"'/beta-latest/api/!session'; echo
curl -s -b "$JAR" -X POST "$BASE"'/beta-latest/api/!logout'; echo
curl -s -b "$JAR" -X POST "$BASE"'/beta-latest/api/!logout'; echo
rm "$JAR"
