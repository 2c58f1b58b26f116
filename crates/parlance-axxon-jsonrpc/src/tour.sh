grpc() { curl -s -H "Content-Type: application/json" "$@" "$BASE/grpc"; echo; }
SERVICE=axxonsoft.bl.auth.AuthenticationService
LOGIN="{\"method\": \"$SERVICE.AuthenticateEx\", \"data\": {\"user_name\": \"$NAME\", \"password\": \"$PASSWORD\"}}"
echo "log in:"; ANSWER=$(grpc -u "$NAME:$PASSWORD" -d "$LOGIN"); echo "$ANSWER"
TOKEN=$(echo "$ANSWER" | sed -n 's/.*"token_value": *"\([A-Za-z0-9._-]*\)".*/\1/p')
echo "use the session:"; grpc -H "Authorization: Bearer $TOKEN" -d "{\"method\": \"$SERVICE.RenewSession\", \"data\": {}}"
echo "log out:"; grpc -H "Authorization: Bearer $TOKEN" -d "{\"method\": \"$SERVICE.CloseSession\", \"data\": {}}"
echo "refused:"; grpc -i -H "Authorization: Bearer $TOKEN" -d "{\"method\": \"$SERVICE.RenewSession\", \"data\": {}}" | sed -n '1p;/error_code/p'
