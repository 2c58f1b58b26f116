TOKEN=$(curl -s --data-urlencode "username=$NAME" --data-urlencode "password=$PASSWORD" "$BASE/api/login" | sed -n 's/.*"access_token": "\([A-Z]*\)".*/\1/p')
curl -s -d "access_token=$TOKEN" "$BASE/api/login"; echo
curl -s -d "access_token=$TOKEN" "$BASE/api/logout"; echo
curl -s -d "access_token=$TOKEN" "$BASE/api/logout"; echo
